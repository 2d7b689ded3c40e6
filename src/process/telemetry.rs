//! Sets up the log, and limits what it may quote.

use std::{fmt, io::IsTerminal as _, sync::Arc};

use tracing_subscriber::{
    filter::{FilterExt as _, LevelFilter, Targets},
    prelude::*,
    reload,
};

use crate::{
    args::LogFormat,
    settings::{InvalidDirectives, LogDirectives},
    traces::{self, TraceLayer},
};

/// Lets only this program's own messages through, at any log level. Libraries may log secrets: kube's client quotes an
/// answer that it cannot read, which may be a Secret, and HTTP clients show headers.
fn own_messages() -> Targets {
    Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target("scim_bridge_operator", LevelFilter::TRACE)
        // Spans are only for traces. The log shows the trace id of a reconcile instead.
        .with_target(traces::TARGET, LevelFilter::OFF)
        .with_target("k8s_controller", LevelFilter::DEBUG)
}

/// The log level, which can be changed while the process runs.
#[derive(Clone)]
pub struct LogLevel(Arc<Set>);

type Set = dyn Fn(&LogDirectives) + Send + Sync;

impl LogLevel {
    /// Sets the log level: a level, or directives by module.
    ///
    /// # Errors
    /// `level` is neither. Then nothing changes.
    pub fn set(&self, level: &str) -> Result<(), InvalidDirectives> {
        (self.0)(&level.parse()?);
        Ok(())
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel(..)")
    }
}

/// Sends the log to standard error and spans to `traces`. Logs only the place of a panic.
pub fn install(format: LogFormat, level: &LogDirectives, traces: Option<TraceLayer>) -> LogLevel {
    let filter = level.filter().and(own_messages());
    let (filter, handle) = reload::Layer::new(filter);
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if json {
        layer.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        layer.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    // Not an `Option<TraceLayer>`: with `None` in it, every span of this program and its libraries is created anyway.
    let mut layers: Vec<TraceLayer> = traces.into_iter().collect();
    layers.push(layer.with_filter(filter).boxed());
    // A second call in the same process, as in tests, does not replace the log.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    // The message of a panic may quote a secret. Its place is enough to find the fault.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
    LogLevel(Arc::new(move |level| {
        let next = level.filter().and(own_messages());
        // `modify`, because `reload` cannot replace the filter of a single layer. It fails only if the log is gone.
        let _ = handle.modify(|filter| *filter = next);
    }))
}
