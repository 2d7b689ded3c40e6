//! `check`, in every form, of one connection for each reason, and by flags.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use futures::{StreamExt as _, stream};
use testbed::{bed::Bed, scratch::Scratch};
use tokio::task::spawn_blocking;

use crate::{peer::Authority, surfaces::Outputs};

const BINARY: &str = env!("CARGO_BIN_EXE_scim-bridge-operator");

/// A form, and what each output in that form holds.
const FORMS: [(&str, &str); 4] = [
    ("text", "runbook"),
    ("json", "\"runbook\""),
    ("yaml", "runbook:"),
    ("junit", "<testsuites>"),
];

/// Checks each of these connections as `kubectl scim-bridge check` does, and takes in all that it prints.
pub(crate) async fn collect(outputs: &mut Outputs, bed: &Bed<'_>, names: &[&str], authority: &Authority) {
    let folder = Scratch::new("plugin").unwrap();
    let plugin = folder.path().join("kubectl-scim_bridge");
    symlink(BINARY, &plugin).unwrap();
    let runs = names.iter().flat_map(|name| FORMS.map(|form| (*name, form)));
    let printed = stream::iter(runs).map(|(name, (form, proof))| {
        let (plugin, kubeconfig) = (plugin.clone(), bed.cluster.kubeconfig().to_owned());
        let args = ["check", name, "-n", &bed.namespace, "-o", form].map(str::to_owned);
        async move {
            let text = spawn_blocking(move || run(&plugin, &kubeconfig, &args, b""))
                .await
                .unwrap();
            (format!("check -o {form} of {name}"), text, proof)
        }
    });
    let printed: Vec<_> = printed.buffered(8).collect().await;
    for (name, text, proof) in printed {
        // The one foreign text that may be shown. Whoever is `Connected` needs no runbook.
        let text = text.replace(&authority.name, "");
        let is_well = text.contains("\nConnected  ");
        outputs.add(name, text, if is_well { "Connected" } else { proof });
    }
}

fn run(program: &Path, kubeconfig: &Path, args: &[String], input: &[u8]) -> String {
    let folder = Scratch::new("check").unwrap();
    let path = folder.path().join("output");
    let output = fs::File::create(&path).unwrap();
    let mut child = Command::new(program)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    // It need not read what it does not want.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait().unwrap();
    fs::read_to_string(path).unwrap()
}
