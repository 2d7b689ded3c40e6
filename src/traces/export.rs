//! Sends spans to a collector, by OTLP over HTTP with protobuf.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
//!
//! The usual environment variables of OpenTelemetry set the sampling, the batches, the resource and the headers:
//! `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio::runtime::Handle;
use tracing::{Level, info, warn};
use tracing_subscriber::{Layer as _, filter::FilterFn};
use url::Url;

pub use super::layers::Layers;
use super::{TARGET, TraceLayer};

/// Time for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time to send the last spans when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// The collector's answers are cut after this many bytes: an answer to an export is shorter.
const MAX_ANSWER: usize = 64 * 1024;

/// The export of traces to a collector.
#[derive(Clone, Debug)]
pub struct Export(SdkTracerProvider);

/// Why the export cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[from] reqwest::Error),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The exporter refuses its settings. They are not quoted: they may hold a password.
    #[error("OTEL_EXPORTER_OTLP_* has a value that the exporter refuses")]
    Settings,
}

impl Export {
    /// Sets up the export to `/v1/traces` below `endpoint`. Call it in a tokio runtime.
    ///
    /// # Errors
    /// The export cannot be set up. Nothing is sent yet: if the collector cannot be reached, the log reports that
    /// later.
    pub fn to(endpoint: &Url, roots: RootCertStore) -> Result<Self, ExportError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new(roots)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|_| ExportError::Settings)?;
        let resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        // OTEL_SERVICE_NAME takes precedence.
        let has_name = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource = if has_name {
            resource
        } else {
            resource.with_service_name(env!("CARGO_PKG_NAME"))
        };
        Ok(Self(
            SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource.build())
                .build(),
        ))
    }

    /// The layer that exports the spans of reconciles. It exports no log lines and no spans of libraries, because these
    /// may show secrets.
    #[must_use]
    pub fn layer(&self) -> TraceLayer {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(FilterFn::new(|metadata| {
                metadata.is_span() && metadata.target() == TARGET && *metadata.level() <= Level::INFO
            }))
            .boxed()
    }

    /// The observer that exports the layers of a probe as spans.
    #[must_use]
    pub fn layers(&self) -> Layers {
        Layers::new(&self.0)
    }

    /// Sends the last spans and ends the export. Spans that the collector does not accept in two seconds are lost.
    pub async fn end(self) {
        // The call blocks. Its error needs no log line: the sender has logged that the collector does not answer.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH)).await;
    }
}

/// Sends the batches of the exporter's thread with a client of the tokio runtime.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    /// Whether the last batch was lost.
    is_failing: AtomicBool,
}

impl Sender {
    fn new(roots: RootCertStore) -> Result<Self, ExportError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            runtime: Handle::current(),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Logs once when the collector stops accepting batches, and once when it accepts them again.
    fn log(&self, failure: Option<String>) {
        let is_failing = failure.is_some();
        if self.is_failing.swap(is_failing, Ordering::Relaxed) == is_failing {
            return;
        }
        if let Some(why) = failure {
            warn!(
                why,
                "the collector does not accept traces; they are lost until it does"
            );
        } else {
            info!("the collector accepts traces again");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), request.try_into()?);
        // The client needs a thread of the runtime; the exporter's thread is not one.
        let answer = self.runtime.spawn(async move {
            let mut answer = client.execute(request).await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > MAX_ANSWER {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = answer.status();
            Ok::<_, reqwest::Error>(response)
        });
        match answer.await? {
            Ok(response) => {
                let status = response.status();
                self.log((!status.is_success()).then(|| format!("HTTP status {}", status.as_u16())));
                Ok(response)
            }
            Err(error) => {
                let why = if error.is_timeout() {
                    "no answer in time"
                } else if error.is_connect() {
                    "no connection"
                } else {
                    "the connection broke"
                };
                self.log(Some(why.to_owned()));
                Err(why.into())
            }
        }
    }
}
