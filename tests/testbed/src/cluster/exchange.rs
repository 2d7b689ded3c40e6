//! One run of a command-line client, fed and read without blocking the servers that a test runs beside it.

use std::{
    ffi::OsStr,
    io,
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt, process::Command};

/// Runs a command to its end, with `input` at its standard input.
pub(super) async fn exchange(mut command: Command, input: &str) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take();
    let write = async move {
        match stdin {
            // It may end without having read everything, and says why itself.
            Some(mut stdin) => stdin.write_all(input.as_bytes()).await.or_else(ignore_closed),
            None => Ok(()),
        }
    };
    // At the same time: it may write much before it has read all.
    let (written, output) = tokio::join!(write, child.wait_with_output());
    written.and(output)
}

/// The arguments of a command, for a message.
pub(super) fn words(args: &[impl AsRef<OsStr>]) -> String {
    let words: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    words.join(" ")
}

/// What it wrote to standard error.
pub(super) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn ignore_closed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}
