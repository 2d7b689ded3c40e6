//! The same rows by the system's own resolver, where this user may give a process its own files and a server port 53.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use futures::future::join_all;
use testbed::scratch::Scratch;

use crate::{
    rows::{ROWS, Row},
    support::Differences,
    table::{Servers, write},
};

/// The ways to a mount namespace, with privileges and without.
const WAYS: [&str; 2] = ["unshare --mount", "unshare --user --map-root-user --mount"];

/// Asks as a program that knows nothing of DNS, without the flags that look at this machine's addresses.
const ASK: &str = "\
import socket, sys
try:
    found = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)
    print(' '.join(sorted({entry[4][0] for entry in found})))
except (OSError, UnicodeError):
    print('nothing')
";

/// Says what was not tried, past the capture of a test that passes.
fn was_not_run(why: &str) {
    let what = "NOT RUN: the rows of the table by the system's resolver";
    let _ = writeln!(io::stderr(), "{what}: {why}. The rows themselves were tested.");
}

/// The command that runs `sh` with these files in the places of the system's.
fn with_files(way: &str, folder: &Path) -> Command {
    let folder = folder.display();
    let mounts = ["resolv.conf", "hosts", "nsswitch.conf"]
        .map(|name| format!("{{ [ ! -e /etc/{name} ] || mount --bind '{folder}/{name}' /etc/{name}; }}"));
    let mut words = way.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .args([
            "sh",
            "-c",
            &format!("{} && exec \"$@\"", mounts.join(" && ")),
            "sh",
        ])
        .stderr(Stdio::null());
    command
}

fn prepare(folder: &Arc<Scratch>, resolv_conf: &str, hosts: &str) {
    write(folder, resolv_conf, hosts);
    fs::write(folder.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
}

/// The oldest one that knows every option of the table.
const OLDEST: (u32, u32) = (2, 36);

/// Major and minor version of the GNU C library, where that is the system's.
fn version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_system_does_the_same() {
    if version().is_none_or(|version| version < OLDEST) {
        return was_not_run("this system's C library is not GNU's, or older than 2.36");
    }
    let folder = Scratch::new("resolver").unwrap();
    prepare(&folder, "", "");
    let works = |way: &&str| {
        let ended = with_files(way, folder.path())
            .args(["python3", "-c", ASK, "."])
            .stdout(Stdio::null())
            .status();
        ended.is_ok_and(|status| status.success())
    };
    let Some(way) = WAYS.into_iter().find(works) else {
        return was_not_run("this user may not make a mount namespace (unshare --mount)");
    };
    // A network for each row, and for each who runs this test.
    let own = 20 + u8::try_from(std::process::id() % 200).unwrap();
    let rows = || (0..).zip(ROWS).filter(|(_, row)| row.unlike_the_system.is_none());
    let seen = join_all(rows().map(|(number, row)| ask(way, [127, own, number], row))).await;
    let mut differences = Differences::default();
    for ((_, row), seen) in rows().zip(seen) {
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                return was_not_run(&format!("port 53 of loopback cannot be listened on ({error})"));
            }
        };
        let expected = if ["NotFound", "Failed", "TimedOut"].contains(&row.found) {
            "nothing"
        } else {
            row.found
        };
        let Row { what, name, .. } = row;
        differences.compare(
            format!("{what}: {name}"),
            &format!("{expected} | {}", row.asked),
            &seen,
        );
    }
    differences.assert_none();
}

/// What the system finds for this row, and what the servers were asked.
async fn ask(way: &str, network: [u8; 3], row: &Row) -> io::Result<String> {
    let servers = Servers::at(network, 53, row.zones).await?;
    let folder = Scratch::new("resolver")?;
    // The library's times are long. They decide how long it takes, and not what becomes of it.
    let lines = format!("{}\noptions timeout:1 attempts:1", row.resolv_conf);
    prepare(&folder, &servers.resolv_conf(&lines), row.hosts);
    let mut command = with_files(way, folder.path());
    command.args(["python3", "-c", ASK, row.name]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let found = String::from_utf8(output.stdout).unwrap();
    Ok(format!("{} | {}", found.trim(), servers.asked()))
}
