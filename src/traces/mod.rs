//! Traces: a span for each reconcile and below it one for each layer of its probe.
//!
//! ```text
//! reconcile ─┬─ resolve
//!            ├─ probe ── name, address, tls, ping, health, users, groups, next_key
//!            └─ report
//! ```
//!
//! Spans are `tracing` spans; they cost next to nothing if they are not exported. With the feature `otlp` and
//! `--otlp-endpoint` they are sent to a collector. The field `trace` in the log is the trace id.

#[cfg(feature = "otlp")]
pub mod export;

#[cfg(feature = "otlp")]
mod layers;

use std::{fmt, time::Instant};

use tracing::{Span, field::Empty, info_span};
use tracing_subscriber::{Layer, Registry};

use crate::{api::vocabulary::Class, domain::connection::verdict::Verdict};

/// The target of spans; log lines have others. No module may have this name: filters match it as a prefix.
pub const TARGET: &str = "scim_bridge_operator::span";

/// A layer of the log's registry that sees the spans, which the log does not show.
pub type TraceLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The trace of a reconcile. `Display` writes its id in the form of a W3C trace id.
/// <https://www.w3.org/TR/trace-context/#trace-id>
#[derive(Debug)]
pub struct Trace {
    span: Span,
    id: u128,
    started: Instant,
}

impl Trace {
    /// Starts the trace of a reconcile.
    #[must_use]
    pub fn begin(namespace: &str, name: &str, cause: &dyn fmt::Debug) -> Self {
        let span = info_span!(
            target: TARGET,
            "reconcile",
            k8s.namespace.name = namespace,
            scimbridge.connection = name,
            scimbridge.cause = ?cause,
            scimbridge.reason = Empty,
            scimbridge.layer = Empty,
            otel.status_code = Empty,
        );
        Self {
            id: exported(&span).unwrap_or_else(rand::random),
            span,
            started: Instant::now(),
        }
    }

    /// The span of the whole reconcile.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Adds the reason of the verdict and the layer that decided it to the span.
    pub fn judged(&self, verdict: &Verdict, layer: &'static str) {
        self.span.record("scimbridge.reason", verdict.reason.as_str());
        self.span.record("scimbridge.layer", layer);
        let failed = match verdict.class {
            Class::Ok | Class::Pending => false,
            Class::Action | Class::Transient => true,
        };
        if failed {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    /// Seconds since the start.
    #[must_use]
    pub fn took(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

/// The span of one step of a reconcile.
macro_rules! step {
    ($name:literal) => {
        ::tracing::info_span!(target: $crate::traces::TARGET, $name)
    };
}
pub(crate) use step;

/// The trace id with which this span is exported; `None` if it is not exported.
#[cfg(feature = "otlp")]
fn exported(span: &Span) -> Option<u128> {
    use opentelemetry::trace::{TraceContextExt as _, TraceId};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let id = span.context().span().span_context().trace_id();
    (id != TraceId::INVALID).then(|| u128::from_be_bytes(id.to_bytes()))
}

#[cfg(not(feature = "otlp"))]
const fn exported(_: &Span) -> Option<u128> {
    None
}
