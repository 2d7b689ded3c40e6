//! Prometheus and promtool, from Debian's package, unpacked below `.testbed`: nothing is installed, nobody has to be
//! root.
//!
//! apt verifies what it downloads by the keys of this machine. The version is pinned; a distribution offers one version
//! at a time, so another is taken where this one is gone, and that is said.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Progress, Stamp, ToolsError, lock, run_step, say, unusable};
use crate::{supervise::Launch, workspace};

/// The package, and the version that the tests were written with.
const PACKAGE: &str = "prometheus";
const VERSION: &str = "2.42.0+ds-5+deb12u1";

/// Prometheus' programs.
#[derive(Clone, Debug)]
pub struct PrometheusTools {
    /// The server.
    pub prometheus: PathBuf,
    /// Checks and tests rules, and checks metrics.
    pub promtool: PathBuf,
}

/// The paths of `prometheus` and `promtool`.
pub async fn prometheus(progress: Progress<'_>) -> Result<PrometheusTools, ToolsError> {
    let folder = workspace::state().join("prometheus");
    let tools = PrometheusTools {
        prometheus: folder.join("root/usr/bin/prometheus"),
        promtool: folder.join("root/usr/bin/promtool"),
    };
    let stamp = Stamp {
        path: folder.join("stamp"),
        content: VERSION.to_owned(),
    };
    let ready = || stamp.matches() && tools.prometheus.is_file() && tools.promtool.is_file();
    if ready() {
        return Ok(tools);
    }
    let _lock = lock(&mut *progress).await?;
    if ready() {
        return Ok(tools);
    }
    say(progress, "unpacking Debian's package of Prometheus, 20 MB");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|source| unusable(&folder, source))?;
    }
    for part in ["lists/partial", "archives/partial", "root"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).map_err(|source| unusable(&path, source))?;
    }
    let package = download(&folder, &mut *progress).await?;
    let unpack = Launch::new("dpkg-deb", "dpkg-deb")
        .arg("--extract")
        .arg(&package)
        .arg(folder.join("root"));
    run_step("unpacking it", unpack, progress).await?;
    stamp.write()?;
    Ok(tools)
}

/// Downloads the package; with lists of our own where this machine has none, or old ones.
async fn download(folder: &Path, progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let pinned = format!("{PACKAGE}={VERSION}");
    let fetch = |what: &str, own_lists: bool| apt(folder, own_lists).args(["download", what]);
    if run_step("downloading it", fetch(&pinned, false), &mut *progress)
        .await
        .is_err()
    {
        run_step(
            "reading apt's lists",
            apt(folder, true).arg("update"),
            &mut *progress,
        )
        .await?;
        if run_step("downloading it", fetch(&pinned, true), &mut *progress)
            .await
            .is_err()
        {
            say(
                progress,
                &format!("{pinned} is not offered any more; taking the version that is"),
            );
            run_step("downloading another", fetch(PACKAGE, true), progress).await?;
        }
    }
    let entries = fs::read_dir(folder).map_err(|source| unusable(folder, source))?;
    let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let package = paths.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    package.ok_or_else(|| unusable(folder, std::io::ErrorKind::NotFound.into()))
}

/// apt-get in this folder, with or without lists of its own.
fn apt(folder: &Path, own_lists: bool) -> Launch {
    let option = |name: &str, path: &str| format!("{name}={}", folder.join(path).display());
    let launch = Launch::new("apt-get", "apt-get")
        .folder(folder)
        .args(["-q", "-o"])
        .arg(option("Dir::Cache::archives", "archives"));
    // Where root runs it, apt would hand the download to a user who may not write here.
    let launch = launch.args(["-o", "APT::Sandbox::User=root"]);
    if own_lists {
        launch.arg("-o").arg(option("Dir::State::lists", "lists"))
    } else {
        launch
    }
}
