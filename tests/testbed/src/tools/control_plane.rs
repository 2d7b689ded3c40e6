//! etcd, kube-apiserver and kubectl: from `KUBEBUILDER_ASSETS` if that folder holds them, else built from their
//! published Go modules.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Progress, Stamp, ToolsError, lock, read, run_step, say, unusable};
use crate::{supervise::Launch, workspace};

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

struct Tool {
    name: &'static str,
    package: &'static str,
    /// What to expect of the first build.
    patience: &'static str,
}

const ETCD: Tool = Tool {
    name: "etcd",
    package: "go.etcd.io/etcd/server/v3",
    patience: "about 1 minute",
};
const KUBE_APISERVER: Tool = Tool {
    name: "kube-apiserver",
    package: "k8s.io/kubernetes/cmd/kube-apiserver",
    patience: "about 5 minutes",
};
const KUBECTL: Tool = Tool {
    name: "kubectl",
    package: "k8s.io/kubernetes/cmd/kubectl",
    patience: "about half a minute",
};

/// All three.
pub async fn control_plane(progress: Progress<'_>) -> Result<ControlPlaneTools, ToolsError> {
    let [etcd, kube_apiserver, kubectl] = tools([ETCD, KUBE_APISERVER, KUBECTL], progress).await?;
    Ok(ControlPlaneTools {
        etcd,
        kube_apiserver,
        kubectl,
    })
}

/// The client alone, for a cluster that exists.
pub async fn kubectl(progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let [kubectl] = tools([KUBECTL], progress).await?;
    Ok(kubectl)
}

async fn tools<const N: usize>(tools: [Tool; N], progress: Progress<'_>) -> Result<[PathBuf; N], ToolsError> {
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
    let recipe = Recipe::read()?;
    let stale = |tool: &Tool| !(recipe.stamp(tool).matches() && recipe.binary(tool).is_file());
    if tools.iter().any(stale) {
        let _lock = lock(&mut *progress).await?;
        for (number, tool) in (1..).zip(&tools) {
            // Somebody else may have built it while this process waited for the lock.
            if stale(tool) {
                let step = format!("building {} ({number} of {N})", tool.name);
                say(
                    progress,
                    &format!("{step}, {} on 2 cores the first time", tool.patience),
                );
                recipe.build(tool, &step, &mut *progress).await?;
            }
        }
    }
    Ok(tools.map(|tool| recipe.binary(&tool)))
}

/// What the binaries are made from.
struct Recipe {
    module: PathBuf,
    bin: PathBuf,
    go: String,
    ldflags: String,
    sources: String,
}

impl Recipe {
    fn read() -> Result<Self, ToolsError> {
        let module = workspace::testbed().join("controlplane");
        let go_mod = read(&module.join("go.mod"))?;
        let go = version(&go_mod, "go ").ok_or(ToolsError::NoVersion("go"))?;
        let kubernetes =
            version(&go_mod, "k8s.io/kubernetes v").ok_or(ToolsError::NoVersion("k8s.io/kubernetes"))?;
        let sources = go_mod.clone() + &read(&module.join("go.sum"))?;
        Ok(Self {
            bin: workspace::state().join("bin"),
            go: go.to_owned(),
            ldflags: ldflags(kubernetes),
            sources,
            module,
        })
    }

    fn binary(&self, tool: &Tool) -> PathBuf {
        self.bin.join(tool.name)
    }

    fn stamp(&self, tool: &Tool) -> Stamp {
        Stamp {
            path: self.bin.join(format!("{}.stamp", tool.name)),
            content: format!("{}\n{}\n{}", tool.package, self.ldflags, self.sources),
        }
    }

    async fn build(&self, tool: &Tool, step: &str, progress: Progress<'_>) -> Result<(), ToolsError> {
        if Command::new("go").arg("version").output().is_err() {
            return Err(ToolsError::NoGo(self.go.clone()));
        }
        fs::create_dir_all(&self.bin).map_err(|source| unusable(&self.bin, source))?;
        let stamp = self.stamp(tool);
        stamp.clear()?;
        let fresh = self.bin.join(format!("{}.new", tool.name));
        let build = Launch::new(format!("build-{}", tool.name), "go")
            .args([
                "build",
                "-mod=readonly",
                "-trimpath",
                "-ldflags",
                &self.ldflags,
                "-o",
            ])
            .arg(&fresh)
            .arg(tool.package)
            .folder(&self.module)
            // Static binaries need no C compiler, and run wherever the folder is carried.
            .env("CGO_ENABLED", "0")
            // A workspace file of the user's is none of our business.
            .env("GOWORK", "off");
        run_step(step, build, progress).await?;
        replace(&fresh, &self.binary(tool))?;
        stamp.write()
    }
}

/// By renaming: whoever runs the old file goes on with it, and nobody meets half of the new one.
fn replace(fresh: &Path, binary: &Path) -> Result<(), ToolsError> {
    fs::rename(fresh, binary).map_err(|source| unusable(binary, source))
}

/// What follows `prefix` on the first line that begins with it.
fn version<'a>(go_mod: &'a str, prefix: &str) -> Option<&'a str> {
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix(prefix)?.split_whitespace().next())
}

/// Strips symbols and stamps the version: kubectl and the API server refuse to work together unless they know theirs.
fn ldflags(kubernetes: &str) -> String {
    let mut parts = kubernetes.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let stamp = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    [
        "-s -w".to_owned(),
        stamp("gitVersion", &format!("v{kubernetes}")),
        stamp("gitMajor", major),
    ]
    .concat()
        + &stamp("gitMinor", minor)
        + &stamp("gitTreeState", "clean")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_go_mod() {
        let go_mod =
            "go 1.26.0\nrequire (\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\nk8s.io/kubernetes/x => y\n";
        assert_eq!(version(go_mod, "k8s.io/kubernetes v"), Some("1.37.2"));
        assert_eq!(version(go_mod, "go "), Some("1.26.0"));
    }

    #[test]
    fn the_version_is_stamped_whole_and_in_parts() {
        assert_eq!(
            ldflags("1.37.2"),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37 \
             -X k8s.io/component-base/version.gitTreeState=clean"
        );
    }
}
