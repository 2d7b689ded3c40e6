//! Makes spans of the layers of a probe.

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    api::vocabulary::Layer,
    bridge::wire::stages::{Observer, Stage},
    domain::connection::evidence::{Answer, Exchange, KeyTrial, Reading, TransportFailure},
};

/// Makes a span of each layer, below the current span.
///
/// A layer is reported when it ends, so its span is created then, with an earlier start time.
#[derive(Debug)]
pub struct Layers(SdkTracer);

impl Layers {
    pub(super) fn new(provider: &SdkTracerProvider) -> Self {
        Self(provider.tracer(env!("CARGO_PKG_NAME")))
    }
}

impl Observer for Layers {
    fn passed(&self, stage: Stage<'_>, took: Duration) {
        let (kind, outcome) = match stage {
            Stage::Resolved(_) | Stage::Connected | Stage::Secured => (SpanKind::Internal, SpanEnd::Passed),
            Stage::Asked(layer, exchange) => (SpanKind::Client, SpanEnd::of(layer, exchange)),
            Stage::Listed(_, Ok(answer)) => (SpanKind::Client, SpanEnd::of_answer(answer)),
            Stage::Listed(_, Err(failure)) => (SpanKind::Client, SpanEnd::of_failure(failure)),
        };
        let ended = SystemTime::now();
        let parent: Context = Span::current().context();
        let mut span = self
            .0
            .span_builder(stage.layer().as_str())
            .with_kind(kind)
            .with_start_time(ended.checked_sub(took).unwrap_or(ended))
            .start_with_context(&self.0, &parent);
        match outcome {
            SpanEnd::Passed => {}
            SpanEnd::Answered(status) => {
                span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
            }
            SpanEnd::Failed(what) => {
                // One of a closed set of words: nothing that a peer sent is exported.
                span.set_attribute(KeyValue::new("error.type", what.clone()));
                span.set_status(Status::error(what));
            }
        }
        span.end_with_timestamp(ended);
    }

    fn ended(&self, _: Duration) {}
}

/// How a layer ended.
enum SpanEnd {
    Passed,
    /// With this HTTP status.
    Answered(u16),
    Failed(String),
}

impl SpanEnd {
    fn of(layer: Layer, exchange: &Exchange) -> Self {
        match layer {
            Layer::Ping => Self::of_reading(&exchange.ping),
            Layer::Health => Self::of_reading(&exchange.health),
            Layer::Users => Self::of_reading(&exchange.users),
            // The exchange keeps only the count of groups, not how the request failed.
            Layer::Groups => exchange
                .groups
                .map_or_else(|| Self::Failed("NoCount".to_owned()), |_| Self::Answered(200)),
            Layer::NextKey => match exchange.next_key {
                None | Some(KeyTrial::Accepted) => Self::Passed,
                Some(trial @ (KeyTrial::Refused | KeyTrial::Undecided)) => Self::Failed(format!("{trial:?}")),
                Some(KeyTrial::Unusable(blocker)) => Self::Failed(format!("{blocker:?}")),
            },
            Layer::Settings | Layer::Name | Layer::Address | Layer::Proxy | Layer::Tls => Self::Passed,
        }
    }

    fn of_reading<T>(reading: &Reading<T>) -> Self {
        match reading {
            Reading::NotSent => Self::Passed,
            Reading::Failed(failure) => Self::of_failure(*failure),
            Reading::Answered(answer) => Self::of_answer(answer),
        }
    }

    fn of_failure(failure: TransportFailure) -> Self {
        Self::Failed(format!("{failure:?}"))
    }

    fn of_answer<T>(answer: &Answer<T>) -> Self {
        match answer {
            Answer::Document(_) => Self::Answered(200),
            Answer::Unauthorized => Self::Answered(401),
            Answer::Forbidden => Self::Answered(403),
            Answer::NotFound => Self::Answered(404),
            Answer::RateLimited => Self::Answered(429),
            Answer::Blocked(status)
            | Answer::Redirect(status)
            | Answer::Unavailable(status)
            | Answer::ServerError(status)
            | Answer::Unexpected(status) => Self::Answered(*status),
            Answer::Foreign => Self::Failed("Foreign".to_owned()),
            Answer::Page => Self::Failed("Page".to_owned()),
            Answer::TooLarge => Self::Failed("TooLarge".to_owned()),
            Answer::Broken => Self::Failed("Broken".to_owned()),
            Answer::Encoded => Self::Failed("Encoded".to_owned()),
        }
    }
}
