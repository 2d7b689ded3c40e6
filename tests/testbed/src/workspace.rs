//! Where things are.

use std::path::{Path, PathBuf};

/// This crate's folder: what is checked in for the test bed.
pub(crate) fn testbed() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The root of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    // `tests/testbed` is two levels below it.
    testbed()
        .ancestors()
        .nth(2)
        .unwrap_or_else(|| testbed())
        .to_owned()
}

/// Everything that is made at run time, ignored by Git: binaries, the SCIM server's environment, scratch folders.
#[must_use]
pub fn state() -> PathBuf {
    root().join(".testbed")
}
