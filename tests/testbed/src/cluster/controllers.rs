//! kube-controller-manager on loopback, with all of its default controllers.

use std::{net::SocketAddr, path::Path, sync::Arc};

use k8s_openapi::api::{core::v1::ServiceAccount, rbac::v1::ClusterRole};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{
    ClusterError,
    control_plane::{GRACE, PORT_TRIES, START_DEADLINE, flag, is_port_taken},
    credentials::{Credentials, write_kubeconfig},
};
use crate::{
    loopback::{self, free_port},
    scratch::Scratch,
    supervise::{Launch, Process},
};

/// Starts it, and waits until its work is to be seen: what it makes in a new cluster is there.
pub(super) async fn start_controllers(
    program: &Path,
    credentials: &Credentials,
    api_server: SocketAddr,
    scratch: &Arc<Scratch>,
) -> Result<Process, ClusterError> {
    let kubeconfig = scratch.path().join("controllers.kubeconfig");
    write_kubeconfig(&kubeconfig, &credentials.controllers_kubeconfig(api_server)?)?;
    let api = client(credentials.admin_kubeconfig(api_server)?).await?;
    let mut tries = 1;
    loop {
        let address = loopback::at(free_port()?);
        // It trusts whom the API server trusts, and shows a certificate of the same authority.
        let controllers = client(credentials.admin_kubeconfig(address)?).await?;
        let process = launch(program, credentials, &kubeconfig, address).start(scratch)?;
        let healthy = process.ready(
            START_DEADLINE,
            "kube-controller-manager to be healthy",
            async || {
                let request = http::Request::get("/healthz")
                    .body(Vec::new())
                    .map_err(kube::Error::HttpError)?;
                controllers.request_text(request).await
            },
        );
        match healthy.await {
            Ok(_) => {
                settle(&process, &api).await?;
                return Ok(process);
            }
            Err(error) if is_port_taken(&error) && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

fn launch(program: &Path, credentials: &Credentials, kubeconfig: &Path, address: SocketAddr) -> Launch {
    Launch::new("kube-controller-manager", program)
        .arg(flag("kubeconfig", kubeconfig.display()))
        .arg(flag("authentication-kubeconfig", kubeconfig.display()))
        .arg(flag("authorization-kubeconfig", kubeconfig.display()))
        .arg(flag("bind-address", address.ip()))
        .arg(flag("secure-port", address.port()))
        .arg(flag(
            "tls-cert-file",
            credentials.controller_manager.certificate.display(),
        ))
        .arg(flag(
            "tls-private-key-file",
            credentials.controller_manager.key.display(),
        ))
        .arg(flag("root-ca-file", credentials.ca.display()))
        .arg(flag(
            "service-account-private-key-file",
            credentials.token_key.display(),
        ))
        // Each controller with the rights of its own ServiceAccount, as in a cluster of kubeadm's.
        .arg("--use-service-account-credentials")
        // There is one; a lease would only delay its work.
        .arg(flag("leader-elect", false))
        .grace(GRACE)
}

/// Controllers begin one after the other, some after the process calls itself healthy.
async fn settle(process: &Process, api: &Client) -> Result<(), ClusterError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(api.clone(), "default");
    let account = process.ready(START_DEADLINE, "the default ServiceAccount", async || {
        accounts.get("default").await
    });
    account.await?;
    let cluster_roles: Api<ClusterRole> = Api::all(api.clone());
    let aggregated = process.ready(
        START_DEADLINE,
        "ClusterRole `view` to be aggregated",
        async || {
            let role = cluster_roles
                .get("view")
                .await
                .map_err(|error| error.to_string())?;
            match role.rules {
                Some(rules) if !rules.is_empty() => Ok(()),
                Some(_) | None => Err("no rules".to_owned()),
            }
        },
    );
    aggregated.await?;
    Ok(())
}

async fn client(kubeconfig: Kubeconfig) -> Result<Client, ClusterError> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
