//! scim2-server, an independent SCIM implementation, in a Python environment of its own.

use std::{fs, path::PathBuf};

use super::{Progress, Stamp, ToolsError, lock, read, run_step, say, unusable};
use crate::{python, supervise::Launch, workspace};

/// The path of `scim2-server`, installed from `scim/requirements.txt`: every version and every file pinned by hash.
pub async fn scim2_server(progress: Progress<'_>) -> Result<PathBuf, ToolsError> {
    let python = python::interpreter()?;
    let requirements = workspace::testbed().join("scim/requirements.txt");
    let environment = workspace::state().join("scim2");
    let server = environment.join("bin/scim2-server");
    let stamp = Stamp {
        path: environment.join("stamp"),
        // An environment works with the interpreter it was made with, and at the place it was made at.
        content: format!(
            "{}\n{}\n{}",
            python.display(),
            environment.display(),
            read(&requirements)?
        ),
    };
    let ready = || stamp.matches() && server.is_file();
    if ready() {
        return Ok(server);
    }
    let _lock = lock(&mut *progress).await?;
    if ready() {
        return Ok(server);
    }
    let step = "installing scim2-server";
    say(progress, &format!("{step}, about half a minute the first time"));
    fs::create_dir_all(&environment).map_err(|source| unusable(&environment, source))?;
    stamp.clear()?;
    let venv = Launch::new("venv", python)
        .args(["-I", "-m", "venv", "--clear"])
        .arg(&environment);
    run_step("making its Python environment", venv, &mut *progress).await?;
    let install = Launch::new("pip", environment.join("bin/python"))
        .args([
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ])
        // Wheels only: nothing is compiled, and no code of a package runs while it is installed. What stands in the file
        // is all there is: older versions of pip look for newer versions of what is asked for with an extra.
        .args([
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--requirement",
        ])
        .arg(&requirements);
    run_step(step, install, progress).await?;
    stamp.write()?;
    Ok(server)
}
