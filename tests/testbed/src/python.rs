//! The Python interpreter: a prerequisite, for the supervisor and for the SCIM server.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use thiserror::Error;

use crate::failure::debug_is_message;

/// The names to try. Systems with an old `python3` often have a newer one beside it.
const NAMES: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// Prints the interpreter's own path if it is fit. The path matters: what `PATH` names may be a slow launcher script.
const PROBE: &str = "\
import sys
assert sys.version_info >= (3, 11)
print(sys.executable)
import ensurepip, venv
";

/// No usable interpreter.
#[derive(Clone, Error)]
pub enum PythonError {
    /// None at all, or too old.
    #[error(
        "Python 3.11 or newer is not on PATH: install it (Debian, Ubuntu: python3; macOS: brew install python)"
    )]
    Missing,
    /// Debian and Ubuntu ship the standard library in pieces.
    #[error("{0} cannot make virtual environments: install its venv module (Debian, Ubuntu: python3-venv)")]
    NoVenv(PathBuf),
}
debug_is_message!(PythonError);

/// The path of a Python interpreter, 3.11 or newer, that can make virtual environments.
pub(crate) fn interpreter() -> Result<PathBuf, PythonError> {
    static FOUND: OnceLock<Result<PathBuf, PythonError>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> Result<PathBuf, PythonError> {
    let mut answer = Err(PythonError::Missing);
    for name in NAMES {
        let Ok(output) = Command::new(name).args(["-I", "-c", PROBE]).output() else {
            continue;
        };
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(path.into());
        }
        if !path.is_empty() {
            answer = Err(PythonError::NoVenv(path.into()));
        }
    }
    answer
}
