//! etcd, kube-apiserver, kube-controller-manager and kubectl: from `KUBEBUILDER_ASSETS` if that folder holds them, else
//! built from their published Go modules.

use std::{env, path::PathBuf};

use super::{
    Progress, ToolsError,
    go_module::{GoModule, GoTool, LinkedVersion},
    say,
};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct ControlPlaneTools {
    /// The store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The client.
    pub kubectl: PathBuf,
}

const MODULE: GoModule = GoModule {
    folder: "controlplane",
    version: Some(LinkedVersion {
        module: "k8s.io/kubernetes",
        variables: kubernetes_version,
    }),
};
const ETCD: GoTool = GoTool {
    name: "etcd",
    package: "go.etcd.io/etcd/server/v3",
    patience: "about 1 minute",
};
const KUBE_APISERVER: GoTool = GoTool {
    name: "kube-apiserver",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    patience: "about 5 minutes",
};
const KUBE_CONTROLLER_MANAGER: GoTool = GoTool {
    name: "kube-controller-manager",
    package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    patience: "about 2 minutes",
};
const KUBECTL: GoTool = GoTool {
    name: "kubectl",
    package: "k8s.io/kubernetes/cmd/kubectl",
    patience: "about half a minute",
};

/// What a Kubernetes API needs.
pub async fn control_plane(progress: Progress<'_>) -> Result<ControlPlaneTools, ToolsError> {
    let [etcd, kube_apiserver, kubectl] = tools([ETCD, KUBE_APISERVER, KUBECTL], progress).await?;
    Ok(ControlPlaneTools {
        etcd,
        kube_apiserver,
        kubectl,
    })
}

/// The same, and kube-controller-manager. All from one place, for their versions have to fit.
pub async fn controller_manager(progress: Progress<'_>) -> Result<(ControlPlaneTools, PathBuf), ToolsError> {
    let all = [ETCD, KUBE_APISERVER, KUBECTL, KUBE_CONTROLLER_MANAGER];
    let [etcd, kube_apiserver, kubectl, controller_manager] = tools(all, progress).await?;
    let control_plane = ControlPlaneTools {
        etcd,
        kube_apiserver,
        kubectl,
    };
    Ok((control_plane, controller_manager))
}

/// The client alone, for a cluster that exists.
pub async fn kubectl(progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let [kubectl] = tools([KUBECTL], progress).await?;
    Ok(kubectl)
}

async fn tools<const N: usize>(
    tools: [GoTool; N],
    progress: Progress<'_>,
) -> Result<[PathBuf; N], ToolsError> {
    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
        let found = tools.each_ref().map(|tool| assets.join(tool.name));
        if found.iter().all(|path| path.is_file()) {
            return Ok(found);
        }
        say(
            progress,
            "KUBEBUILDER_ASSETS does not hold all of the programs: building them",
        );
    }
    MODULE.tools(tools, progress).await
}

/// kubectl and the API server refuse to work together unless they know theirs.
fn kubernetes_version(version: &str) -> Vec<(&'static str, String)> {
    let mut parts = version.split('.');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (major, minor) = (part(), part());
    vec![
        ("k8s.io/component-base/version.gitVersion", format!("v{version}")),
        ("k8s.io/component-base/version.gitMajor", major),
        ("k8s.io/component-base/version.gitMinor", minor),
        ("k8s.io/component-base/version.gitTreeState", "clean".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_linked_whole_and_in_parts() {
        let linked: Vec<String> = kubernetes_version("1.37.2")
            .into_iter()
            .map(|(variable, value)| format!("{variable}={value}"))
            .collect();
        assert_eq!(
            linked,
            [
                "k8s.io/component-base/version.gitVersion=v1.37.2",
                "k8s.io/component-base/version.gitMajor=1",
                "k8s.io/component-base/version.gitMinor=37",
                "k8s.io/component-base/version.gitTreeState=clean",
            ]
        );
    }
}
