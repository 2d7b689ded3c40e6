//! Sends spans to a collector, by OTLP over HTTP with protobuf.
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>
//!
//! Sampling, batching, the resource and headers for the collector are set by the environment variables that all
//! OpenTelemetry programs know (`OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_EXPORTER_OTLP_HEADERS`). <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

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

/// Longest time for one batch.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time that the last spans hold up the end of the process.
const FLUSH: Duration = Duration::from_secs(2);

/// A collector's answer that is longer is not an answer to an export.
const ANSWER_BOUND: usize = 64 * 1024;

/// A way to a collector.
#[derive(Clone, Debug)]
pub struct Export(SdkTracerProvider);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[from] reqwest::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
    /// The exporter refuses its settings, which may hold a password and are not repeated.
    #[error("the exporter refuses its settings (OTEL_EXPORTER_OTLP_*)")]
    Settings,
}

impl Export {
    /// Sends spans to the collector at `endpoint`, to which `/v1/traces` is added. Has to be called in a runtime.
    ///
    /// # Errors
    /// Where it cannot be set up. Nothing is sent yet: a collector that is not there is told by the log.
    pub fn to(endpoint: &Url, roots: RootCertStore) -> Result<Self, ExportError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new(roots)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()
            .map_err(|_| ExportError::Settings)?;
        // What the environment says of the resource goes before this.
        let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if named {
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

    /// Sees the spans of passes and nothing else: no line of the log, and no span of a library, which may show what it
    /// handles.
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

    /// What makes spans of the layers of a probe.
    #[must_use]
    pub fn layers(&self) -> Layers {
        Layers::new(&self.0)
    }

    /// Sends what is still here, for as long as that is worth waiting for.
    pub async fn end(self) {
        // It blocks. Where the collector does not answer in time its spans are lost, and it was told of before.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH)).await;
    }
}

/// Sends batches from the exporter's own thread by the runtime's client.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    is_told: AtomicBool,
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
            is_told: AtomicBool::new(false),
        })
    }

    /// Tells once when batches begin to be lost, and once when they are taken again.
    fn tell(&self, lost: Option<String>) {
        let is_lost = lost.is_some();
        if self.is_told.swap(is_lost, Ordering::Relaxed) == is_lost {
            return;
        }
        if let Some(why) = lost {
            warn!(
                why,
                "the collector does not take traces; they are lost until it does"
            );
        } else {
            info!("the collector takes traces again");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), request.try_into()?);
        // The exporter's thread is not one of the runtime's, and the client needs one of these.
        let answer = self.runtime.spawn(async move {
            let mut answer = client.execute(request).await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > ANSWER_BOUND {
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
                self.tell((!status.is_success()).then(|| format!("HTTP status {}", status.as_u16())));
                Ok(response)
            }
            Err(error) => {
                let why = if error.is_timeout() {
                    "no answer in time"
                } else if error.is_connect() {
                    "no connection"
                } else {
                    "the exchange broke off"
                };
                self.tell(Some(why.to_owned()));
                Err(why.into())
            }
        }
    }
}
