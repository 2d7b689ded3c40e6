//! Traces: a span for each pass, and below it one for each layer of its probe.
//!
//! ```text
//! pass ─┬─ resolve
//!       ├─ probe ── name, address, tls, ping, health, users, groups, next_key
//!       └─ report
//! ```
//!
//! Spans are `tracing`'s, and cost next to nothing where nobody exports them. With the feature `otlp` and
//! `--otlp-endpoint` they are sent to a collector; the log's `trace` is then the id that is found there.

#[cfg(feature = "otlp")]
pub mod export;

#[cfg(feature = "otlp")]
mod layers;

use std::{fmt, time::Instant};

use tracing::{Span, field::Empty, info_span};
use tracing_subscriber::{Layer, Registry};

use crate::{api::vocabulary::Class, domain::verdict::Verdict};

/// What spans are told from lines of the log by. No module has this name, for filters go by its beginning.
pub const TARGET: &str = "scim_bridge_operator::span";

/// What takes part in the log's registry, and sees the spans that the log does not show.
pub type TraceLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The trace of one pass: its id, in the form of a W3C trace id, and when it began.
/// <https://www.w3.org/TR/trace-context/#trace-id>
#[derive(Debug)]
pub struct Trace {
    span: Span,
    id: u128,
    begun: Instant,
}

impl Trace {
    /// The trace of a pass over a connection that begins now.
    #[must_use]
    pub fn begin(namespace: &str, name: &str, cause: &dyn fmt::Debug) -> Self {
        let span = info_span!(
            target: TARGET,
            "pass",
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
            begun: Instant::now(),
        }
    }

    /// The span of the whole pass.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// Notes the verdict: the reason, and the layer that decided.
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

    /// Seconds since it began.
    #[must_use]
    pub fn took(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.id)
    }
}

/// The span of one step of a pass.
macro_rules! step {
    ($name:literal) => {
        ::tracing::info_span!(target: $crate::traces::TARGET, $name)
    };
}
pub(crate) use step;

/// The id under which this span is exported, if it is.
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
