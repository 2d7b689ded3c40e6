//! The log, and what a panic may say.

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

/// Only this program's own words are logged, whatever is asked for. Libraries quote what they handle: kube's client
/// warns of an answer that it cannot read with the whole answer, and that may be a Secret; HTTP clients show headers.
fn own_words() -> Targets {
    Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target("scim_bridge_operator", LevelFilter::TRACE)
        // Spans are for traces; the lines of a pass carry the id of its trace.
        .with_target(traces::TARGET, LevelFilter::OFF)
        .with_target("k8s_controller", LevelFilter::DEBUG)
}

/// What is logged, to be changed while the process runs.
#[derive(Clone)]
pub struct LogLevel(Arc<Set>);

type Set = dyn Fn(&LogDirectives) + Send + Sync;

impl LogLevel {
    /// Logs this from now on: a level, or directives by module.
    ///
    /// # Errors
    /// Where `level` is neither; then all stays as it is.
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

/// Sends the log to standard error, and spans to `traces`; keeps panics short.
pub fn install(format: LogFormat, level: &LogDirectives, traces: Option<TraceLayer>) -> LogLevel {
    let filter = level.filter().and(own_words());
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
    // An absent layer is none: every span of this program and of its libraries would be made for it.
    let mut layers: Vec<TraceLayer> = traces.into_iter().collect();
    layers.push(layer.with_filter(filter).boxed());
    // A second call, as in tests of one process, leaves the first log in place.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    // The message of a panic may quote any value; where it happened is enough to find the fault.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
    LogLevel(Arc::new(move |level| {
        let next = level.filter().and(own_words());
        // `modify`, for a filter of one layer cannot be replaced as a whole. It fails only where the log is gone.
        let _ = handle.modify(|filter| *filter = next);
    }))
}
