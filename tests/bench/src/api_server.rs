//! The API server, asked by hand: as the administrator, with next to no CPU of our own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::future::try_join_all;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use testbed::Failure;

use crate::wire::{Request, Wire};

/// Where objects of our kind are.
pub(crate) const CONNECTIONS: &str = "scimbridgeconnections";
/// The group and version of our kind.
pub(crate) const VERSION: &str = "scimbridge.dev/v1alpha1";
/// What the API server puts the requests of service accounts under.
const FLOW_SCHEMA: &str = "service-accounts";
/// Writers that create objects at a time.
const WRITERS: usize = 16;

/// Where it is, and who we are there.
#[derive(Clone, Debug)]
pub(crate) struct ApiServer {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// Requests that it answered since its start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// All those of service accounts, of which the operator is the only one.
    pub(crate) of_operator: u64,
    /// By verb and resource, whoever asked.
    pub(crate) by_kind: BTreeMap<String, u64>,
}

/// A request whose parts are its own.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    /// Media type of the body.
    pub(crate) media: &'static str,
    pub(crate) body: Value,
}

impl ApiServer {
    /// The one of a kubeconfig that names a client certificate, as the test bed's does.
    pub(crate) fn of(kubeconfig: &Path) -> Result<Self, Failure> {
        let kubeconfig: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
        let text = |pointer: &str| {
            let text = kubeconfig.pointer(pointer).and_then(Value::as_str);
            text.ok_or("the kubeconfig is not one of the test bed's own: unset CLUSTER and KUBECONFIG")
        };
        let server = text("/clusters/0/cluster/server")?;
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_file_iter(text("/clusters/0/cluster/certificate-authority")?)? {
            roots.add(root?)?;
        }
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(text("/users/0/user/client-certificate")?)?.collect();
        let key = PrivateKeyDer::from_pem_file(text("/users/0/user/client-key")?)?;
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain?, key)?;
        Ok(Self {
            address: server.trim_start_matches("https://").parse()?,
            tls: Arc::new(tls),
        })
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Wire, Failure> {
        Ok(Wire::tls(self.address, &self.tls).await?)
    }

    /// Sends what there is to write for each number, several at a time.
    pub(crate) async fn write_each(
        &self,
        numbers: Range<usize>,
        write: impl Fn(usize) -> Write,
    ) -> Result<(), Failure> {
        let next = AtomicUsize::new(numbers.start);
        let writers = (0..WRITERS).map(async |_| {
            let mut wire = self.connect().await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return Ok::<(), Failure>(());
                }
                write(number).send(&mut wire).await?;
            }
        });
        try_join_all(writers).await.map(drop)
    }

    /// Sends one.
    pub(crate) async fn write(&self, write: &Write) -> Result<String, Failure> {
        write.send(&mut self.connect().await?).await
    }

    /// What it counted.
    pub(crate) async fn requests(&self) -> Result<Requests, Failure> {
        let metrics = self.connect().await?.succeed(Request::get("/metrics")).await?;
        Ok(read_requests(&metrics))
    }
}

impl Write {
    /// Creates an object in a collection.
    pub(crate) fn create(collection: String, body: Value) -> Self {
        Self {
            method: "POST",
            path: collection,
            media: "application/json",
            body,
        }
    }

    /// Changes some of an object.
    pub(crate) fn merge(path: String, body: Value) -> Self {
        Self {
            method: "PATCH",
            path,
            media: "application/merge-patch+json",
            body,
        }
    }

    /// Deletes an object, or a whole collection.
    pub(crate) fn delete(path: String) -> Self {
        Self {
            method: "DELETE",
            path,
            media: "application/json",
            body: Value::Null,
        }
    }

    pub(crate) async fn send(&self, wire: &mut Wire) -> Result<String, Failure> {
        let body = if self.body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(&self.body)?
        };
        let request = Request {
            method: self.method,
            path: &self.path,
            headers: &format!("content-type: {}\r\n", self.media),
            body: &body,
        };
        wire.succeed(request).await
    }
}

/// Reads the text format as far as it is about requests.
fn read_requests(metrics: &str) -> Requests {
    let mut requests = Requests::default();
    for line in metrics.lines() {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let (_, after) = labels.split_once(&format!("{name}=\""))?;
            after.split('"').next()
        };
        let count = value.parse::<f64>().unwrap_or_default();
        // Counters of requests are whole numbers, written as the text format writes any.
        let count: u64 = format!("{count:.0}").parse().unwrap_or_default();
        match name {
            "apiserver_request_total" => {
                let resource = label("resource").unwrap_or_default();
                let what = match label("subresource").unwrap_or_default() {
                    "" => resource.to_owned(),
                    subresource => format!("{resource}/{subresource}"),
                };
                let kind = format!("{} {what}", label("verb").unwrap_or_default());
                *requests.by_kind.entry(kind).or_default() += count;
            }
            "apiserver_flowcontrol_dispatched_requests_total"
                if label("flow_schema") == Some(FLOW_SCHEMA) =>
            {
                requests.of_operator += count;
            }
            _ => {}
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_kind() {
        let requests = read_requests(
            "# HELP x\n\
             apiserver_request_total{code=\"200\",resource=\"secrets\",subresource=\"\",verb=\"GET\"} 3\n\
             apiserver_request_total{code=\"404\",resource=\"secrets\",subresource=\"\",verb=\"GET\"} 1\n\
             apiserver_request_total{code=\"200\",resource=\"x\",subresource=\"status\",verb=\"APPLY\"} 1.2e+03\n\
             apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"service-accounts\",priority_level=\"p\"} 7\n\
             apiserver_flowcontrol_dispatched_requests_total{flow_schema=\"exempt\",priority_level=\"p\"} 9\n",
        );
        assert_eq!(requests.of_operator, 7);
        assert_eq!(requests.by_kind["GET secrets"], 4);
        assert_eq!(requests.by_kind["APPLY x/status"], 1200);
    }
}
