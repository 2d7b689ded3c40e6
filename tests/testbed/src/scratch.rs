//! Scratch folders that are gone when nobody uses them any more.
//!
//! A folder is in use while somebody holds a shared lock on it: the process that made it, and the supervisor of each
//! process that writes into it. The kernel takes the locks away when they end, so none of them has to end well:
//!
//! * the owner drops its [`Scratch`]: the folder is removed there and then;
//! * the owner is killed: the last supervisor removes it;
//! * all are killed: the next [`Scratch::new`] on this machine removes it.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::workspace;

/// Environment variable: when it is set, scratch folders (and the logs in them) stay.
pub const KEEP: &str = "TESTBED_KEEP";

/// A private folder (mode 0700) below `.testbed/run`.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Holds the shared lock.
    _in_use: File,
}

impl Scratch {
    /// Makes an empty folder, and removes those whose users were all killed.
    pub fn new(purpose: &str) -> io::Result<Arc<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let run = workspace::state().join("run");
        fs::create_dir_all(&run)?;
        // Between the making of a folder and its lock it looks abandoned.
        let all = File::create(run.join(".lock"))?;
        all.lock()?;
        if !kept() {
            remove_abandoned(&run)?;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = run.join(format!("{purpose}-{}-{number}", process::id()));
        // A kept folder of an earlier process with the same id.
        remove(&path)?;
        DirBuilder::new().mode(0o700).create(&path)?;
        let in_use = File::open(&path)?;
        in_use.lock_shared()?;
        Ok(Arc::new(Self {
            path,
            _in_use: in_use,
        }))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the user asked to keep scratch folders.
    pub(crate) fn removable(&self) -> Option<&Path> {
        (!kept()).then_some(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = self.removable() {
            // What is left over here is removed by the next one that is made.
            let _ = remove(path);
        }
    }
}

fn kept() -> bool {
    std::env::var_os(KEEP).is_some_and(|value| !value.is_empty())
}

fn remove_abandoned(run: &Path) -> io::Result<()> {
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok())
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
