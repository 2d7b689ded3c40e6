//! Go modules whose programs the test bed runs: each a folder with a pinned `go.mod` and `go.sum`, built once.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Progress, Stamp, ToolsError, lock, read, run_step, say, unusable};
use crate::{supervise::Launch, workspace};

/// A folder of this crate with a `go.mod`.
pub(super) struct GoModule {
    pub(super) folder: &'static str,
    /// What is written into its programs, for those that ask for their own version.
    pub(super) version: Option<LinkedVersion>,
}

/// A version that `go.mod` pins and the linker writes into the programs.
pub(super) struct LinkedVersion {
    /// The module whose version it is.
    pub(super) module: &'static str,
    /// The variables that hold it, and their values.
    pub(super) variables: fn(&str) -> Vec<(&'static str, String)>,
}

/// One program of a module.
pub(super) struct GoTool {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
    /// What to expect of the first build.
    pub(super) patience: &'static str,
}

impl GoModule {
    /// The binaries of these programs, built if they are missing or made from something else.
    pub(super) async fn tools<const N: usize>(
        &self,
        tools: [GoTool; N],
        progress: Progress<'_>,
    ) -> Result<[PathBuf; N], ToolsError> {
        let recipe = Recipe::read(self)?;
        let stale = |tool: &GoTool| !(recipe.stamp(tool).matches() && recipe.binary(tool).is_file());
        if tools.iter().any(stale) {
            let _lock = lock(&mut *progress).await?;
            for (number, tool) in (1..).zip(&tools) {
                // Somebody else may have built it while this process waited for the lock.
                if stale(tool) {
                    let step = match N {
                        1 => format!("building {}", tool.name),
                        _ => format!("building {} ({number} of {N})", tool.name),
                    };
                    say(
                        progress,
                        &format!("{step}, {} on 2 cores the first time", tool.patience),
                    );
                    recipe.build(tool, &step, &mut *progress).await?;
                }
            }
        }
        Ok(tools.map(|tool| recipe.binary(&tool)))
    }
}

/// What the binaries are made from.
struct Recipe {
    module: PathBuf,
    bin: PathBuf,
    go: String,
    ldflags: String,
    sources: String,
}

impl Recipe {
    fn read(module: &GoModule) -> Result<Self, ToolsError> {
        let folder = workspace::testbed().join(module.folder);
        let go_mod = read(&folder.join("go.mod"))?;
        let pinned = |what: &'static str, prefix: &str| {
            version(&go_mod, prefix).ok_or(ToolsError::NoVersion {
                module: module.folder,
                what,
            })
        };
        let mut ldflags = LINKER.to_owned();
        if let Some(linked) = &module.version {
            let version = pinned(linked.module, &format!("{} v", linked.module))?;
            for (variable, value) in (linked.variables)(version) {
                ldflags.extend([" -X ", variable, "=", &value]);
            }
        }
        Ok(Self {
            bin: workspace::state().join("bin"),
            go: pinned("go", "go ")?.to_owned(),
            ldflags,
            sources: go_mod.clone() + &read(&folder.join("go.sum"))? + &own_sources(&folder)?,
            module: folder,
        })
    }

    fn binary(&self, tool: &GoTool) -> PathBuf {
        self.bin.join(tool.name)
    }

    fn stamp(&self, tool: &GoTool) -> Stamp {
        Stamp {
            path: self.bin.join(format!("{}.stamp", tool.name)),
            content: format!("{}\n{}\n{}", tool.package, self.ldflags, self.sources),
        }
    }

    async fn build(&self, tool: &GoTool, step: &str, progress: Progress<'_>) -> Result<(), ToolsError> {
        if Command::new("go").arg("version").output().is_err() {
            return Err(ToolsError::NoGo(self.go.clone()));
        }
        fs::create_dir_all(&self.bin).map_err(|source| unusable(&self.bin, source))?;
        let stamp = self.stamp(tool);
        stamp.clear()?;
        let fresh = self.bin.join(format!("{}.new", tool.name));
        let build = Launch::new(format!("build-{}", tool.name), "go")
            .args([
                "build",
                "-mod=readonly",
                // A checkout that Git refuses to read (another owner) must not fail the build.
                "-buildvcs=false",
                "-trimpath",
                "-ldflags",
                &self.ldflags,
                "-o",
            ])
            .arg(&fresh)
            .arg(tool.package)
            .folder(&self.module)
            // Static binaries need no C compiler, and run wherever the folder is carried.
            .env("CGO_ENABLED", "0")
            // A workspace file of the user's is none of our business.
            .env("GOWORK", "off");
        run_step(step, build, progress).await?;
        replace(&fresh, &self.binary(tool))?;
        stamp.write()
    }
}

/// Without symbols, which only debuggers ask for.
const LINKER: &str = "-s -w";

/// By renaming: whoever runs the old file goes on with it, and nobody meets half of the new one.
fn replace(fresh: &Path, binary: &Path) -> Result<(), ToolsError> {
    fs::rename(fresh, binary).map_err(|source| unusable(binary, source))
}

/// What follows `prefix` on the first line that begins with it.
fn version<'a>(go_mod: &'a str, prefix: &str) -> Option<&'a str> {
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix(prefix)?.split_whitespace().next())
}

/// The names and texts of the Go files in a folder, in order. A module that only lists tools has none.
fn own_sources(folder: &Path) -> Result<String, ToolsError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| unusable(folder, source))? {
        let path = entry.map_err(|source| unusable(folder, source))?.path();
        if path.extension().is_some_and(|extension| extension == "go") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().try_fold(String::new(), |sources, file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Ok(format!("{sources}\n{name}\n{}", read(file)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_version_comes_from_go_mod() {
        let go_mod =
            "go 1.26.0\nrequire (\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\nk8s.io/kubernetes/x => y\n";
        assert_eq!(version(go_mod, "k8s.io/kubernetes v"), Some("1.37.2"));
        assert_eq!(version(go_mod, "go "), Some("1.26.0"));
    }

    #[test]
    fn own_sources_change_with_names_and_texts_of_go_files_and_with_nothing_else() {
        let folder = Scratch::new("sources").unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let sources = || own_sources(folder.path()).unwrap();

        write("README.md", "text");
        assert_eq!(sources(), "", "a list of tools has no sources");
        write("main.go", "package main");
        let first = sources();
        write("lua.go", "package main // lua");
        let both = sources();
        assert_ne!(first, both, "a file was added");
        write("lua.go", "package main // Lua");
        assert_ne!(both, sources(), "a file was edited");
        fs::remove_file(folder.path().join("lua.go")).unwrap();
        assert_eq!(first, sources(), "it is gone again");
    }
}
