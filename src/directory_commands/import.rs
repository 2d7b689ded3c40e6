//! `import`: manifests of what a bridge has.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    DirectoryError, Reading, counted,
    declared::Counts,
    manifests::{self, Manifests, Target},
    read,
};
use crate::{
    args::{Addresses, ImportArguments, ImportInto, PluginImportArguments},
    check::{
        plugin::Location,
        subject::{Subject, read_live, read_one},
    },
    domain::directory::{budget::DigestKey, plan::Policy},
};

/// What an import comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// Everything in the scope is written.
    All,
    /// No manifest can describe some users or groups.
    Some,
}

impl Imported {
    /// The exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::All => 0,
            Self::Some => 2,
        }
    }
}

/// Writes manifests for a connection that flags give, or a manifest.
///
/// # Errors
/// [`DirectoryError`]; then no file is written.
pub async fn import(arguments: &ImportArguments, out: &mut impl Write) -> Result<Imported, DirectoryError> {
    let ImportArguments {
        bridge,
        connection,
        file,
        secret_files,
        cluster,
        addresses,
        into,
    } = arguments;
    let (metadata, subject) = read_one(bridge, file.as_deref(), secret_files, cluster).await?;
    let name = metadata.name.as_ref().or(connection.as_ref());
    let name = name.ok_or(DirectoryError::NamelessConnection)?;
    let namespace = metadata.namespace.as_deref().or(cluster.namespace.as_deref());
    let target = Target {
        connection: name,
        namespace,
    };
    write(subject, target, addresses, into, out).await
}

/// Writes manifests for a connection in a cluster.
///
/// # Errors
/// As [`import`]; also if the cluster does not answer.
pub async fn import_live(
    arguments: &PluginImportArguments,
    out: &mut impl Write,
) -> Result<Imported, DirectoryError> {
    let PluginImportArguments {
        connection,
        addresses,
        into,
    } = arguments;
    let Location {
        client,
        namespace,
        name,
    } = Location::of(connection).await?;
    let subject = read_live(&client, &namespace, &name).await?;
    let target = Target {
        connection: &name,
        namespace: Some(&namespace),
    };
    write(subject, target, addresses, into, out).await
}

async fn write(
    subject: Subject,
    target: Target<'_>,
    addresses: &Addresses,
    into: &ImportInto,
    out: &mut impl Write,
) -> Result<Imported, DirectoryError> {
    let ImportInto {
        output_dir,
        all,
        force,
    } = into;
    let (users, groups) = (output_dir.join("users.yaml"), output_dir.join("groups.yaml"));
    // Before the bridge is asked: nobody waits for an answer that cannot be written.
    if !force
        && let Some(path) = [&users, &groups]
            .into_iter()
            .find(|path| path.symlink_metadata().is_ok())
    {
        return Err(DirectoryError::Exists(path.clone()));
    }
    let spec = subject.spec.as_ref().map_err(|why| DirectoryError::Spec(*why))?;
    let policy = spec
        .provisioning
        .as_ref()
        .map(|provisioning| Policy::parse(provisioning, spec.identity_provider, DigestKey::new(&[])))
        .transpose()?;
    let proven = subject
        .status
        .as_ref()
        .and_then(|status| status.provisioning.as_ref()?.members_read_by);
    let Reading {
        snapshot,
        name: _,
        url,
        digest_key: _,
    } = read(subject, addresses, proven).await?;
    let scope = policy.as_ref().filter(|_| !all).map(|policy| &policy.scope);
    let manifests = manifests::of(&snapshot, target, scope);
    fs::create_dir_all(output_dir).map_err(|source| DirectoryError::Write {
        path: output_dir.clone(),
        source,
    })?;
    write_files(
        &[(&users, &manifests.users), (&groups, &manifests.groups)],
        *force,
    )?;
    report(&manifests, url.as_deref(), [&users, &groups], out).map_err(DirectoryError::Output)?;
    Ok(if manifests.skipped.is_empty() {
        Imported::All
    } else {
        Imported::Some
    })
}

/// A file with the new content beside the one that it replaces. It goes if it was not put in place.
struct Beside<'a> {
    path: &'a Path,
    beside: PathBuf,
}

impl<'a> Beside<'a> {
    /// Writes the content. Only the owner may read it: it names people.
    fn write(path: &'a Path, text: &str) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        let written = Self { path, beside };
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(written)
    }

    /// Puts it in place: a reader never sees half of a file.
    fn put(&self) -> io::Result<()> {
        fs::rename(&self.beside, self.path)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // It is gone if it was put in place.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Writes new files, or replaces files as a whole. If one cannot be written, none is.
fn write_files(files: &[(&PathBuf, &String)], force: bool) -> Result<(), DirectoryError> {
    let fault = |path: &Path, source| DirectoryError::Write {
        path: path.to_owned(),
        source,
    };
    let mut written = Vec::new();
    for (path, text) in files {
        written.push(Beside::write(path, text).map_err(|source| fault(path, source))?);
    }
    // The targets come last: afterwards only the file system itself can fail.
    for Beside { path, .. } in &written {
        match path.symlink_metadata() {
            Ok(_) if !force => return Err(DirectoryError::Exists(path.to_path_buf())),
            Ok(found) if found.is_dir() => return Err(fault(path, io::ErrorKind::IsADirectory.into())),
            Ok(_) | Err(_) => {}
        }
    }
    for file in &written {
        file.put().map_err(|source| fault(file.path, source))?;
    }
    Ok(())
}

/// Says what was written, and what was not. Users and groups are named by their ids.
fn report(
    manifests: &Manifests,
    url: Option<&str>,
    [users, groups]: [&PathBuf; 2],
    out: &mut impl Write,
) -> io::Result<()> {
    let Manifests {
        users: _,
        groups: _,
        written,
        left_out,
        skipped,
    } = manifests;
    if let Some(url) = url {
        writeln!(out, "{url}\n")?;
    }
    writeln!(out, "  {}  {}", users.display(), counted(written.users, "user"))?;
    writeln!(
        out,
        "  {}  {}",
        groups.display(),
        counted(written.groups, "group")
    )?;
    if *left_out != Counts::default() {
        let (users, groups) = (counted(left_out.users, "user"), counted(left_out.groups, "group"));
        let left_out = match (left_out.users, left_out.groups) {
            (_, 0) => users,
            (0, _) => groups,
            _ => format!("{users} and {groups}"),
        };
        writeln!(
            out,
            "\nspec.provisioning.scope does not cover {left_out}. To write them too, use --all."
        )?;
    }
    if !skipped.is_empty() {
        writeln!(
            out,
            "\nNo manifest can describe these. Correct them in 1Password, then import again:"
        )?;
    }
    for manifests::Skipped { kind, id, why } in skipped {
        writeln!(out, "  {} {}: {why}", kind.as_str(), id.as_str())?;
    }
    out.flush()
}
