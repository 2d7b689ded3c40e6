//! The Dockerfile, and what it has to agree with. That it builds is for `make image` to say.

use crate::render::{EVERYWHERE, objects, read};

/// The instructions, with their continued lines joined and without comments.
fn instructions() -> Vec<String> {
    let file = read("Dockerfile");
    let said: Vec<_> = file
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let text = said.join("\n").replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(ToOwned::to_owned).collect()
}

/// What follows this instruction, wherever it stands.
fn all(instruction: &str) -> Vec<String> {
    let prefix = format!("{instruction} ");
    instructions()
        .iter()
        .filter_map(|line| line.strip_prefix(&prefix))
        .map(|rest| rest.trim().to_owned())
        .collect()
}

/// The values between quotes in the line of a TOML file that begins like this.
fn toml(path: &str, beginning: &str) -> Vec<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(beginning));
    let line = line.unwrap_or_else(|| panic!("{path}: no line {beginning:?}"));
    line.split('"')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn the_image_is_built_with_the_pinned_toolchain() {
    let channel = &toml("rust-toolchain.toml", "channel")[0];
    let expected = format!("--platform=$BUILDPLATFORM rust:{channel}-bookworm AS build");
    assert_eq!(all("FROM")[0], expected);
}

/// Cargo wants the manifest of every member, or builds nothing.
#[test]
fn the_manifest_of_every_member_is_copied() {
    let copied = all("COPY");
    let missing: Vec<_> = toml("Cargo.toml", "members")
        .into_iter()
        .filter(|member| !copied.contains(&format!("{member}/Cargo.toml {member}/")))
        .collect();
    assert!(missing.is_empty(), "Dockerfile: copy Cargo.toml of {missing:?}");
}

/// What the context lacks cannot be copied.
#[test]
fn what_is_copied_is_in_the_context() {
    let ignore = read(".dockerignore");
    let lines: Vec<_> = ignore.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", ".dockerignore names what is wanted");
    let wanted: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix('!')).collect();
    let mut sources = 0;
    for copy in all("COPY").iter().filter(|copy| !copy.starts_with("--from")) {
        let mut words: Vec<_> = copy.split(' ').collect();
        words.pop();
        for source in words {
            sources += 1;
            let is_wanted = wanted.iter().any(|pattern| match pattern.split_once('*') {
                Some((before, after)) => source.starts_with(before) && source.ends_with(after),
                None => source == *pattern,
            });
            assert!(is_wanted, ".dockerignore leaves {source} out");
        }
    }
    assert!(sources > 4, "{sources} sources were seen");
}

/// A name would not do: kubelet refuses `runAsNonRoot` with a user that it cannot tell from root.
#[tokio::test]
async fn the_image_runs_as_the_deployment_says() {
    let objects = objects(EVERYWHERE).await;
    let pod = &objects.one("Deployment")["spec"]["template"]["spec"];
    let [user, group] = ["runAsUser", "runAsGroup"].map(|key| &pod["securityContext"][key]);
    assert_eq!(all("USER"), [format!("{user}:{group}")]);
    let port = &objects.container()["ports"][0]["containerPort"];
    assert_eq!(all("EXPOSE"), [port.to_string()]);
    // `args` follow it.
    let binary = format!("/{}", env!("CARGO_PKG_NAME"));
    assert_eq!(all("ENTRYPOINT"), [format!("[\"{binary}\"]")]);
    assert!(all("COPY").contains(&format!("--from=build {binary} {binary}")));
    assert_eq!(objects.container().get("command"), None);
}

#[test]
fn the_image_says_what_it_is() {
    let labels = all("LABEL").join(" ");
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", "$VERSION"),
        ("revision", "$REVISION"),
        ("base.name", all("FROM").last().unwrap()),
    ] {
        let label = format!("org.opencontainers.image.{label}=\"{value}\"");
        assert!(labels.contains(&label), "Dockerfile: no {label}");
    }
}
