//! Manifests in files and folders.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    DirectoryError,
    declared::{Candidate, Kind, Spec},
    form::{self, Misformed},
    offboarding::Evidence,
};
use crate::{
    api::{
        group::{ScimGroup, ScimGroupSpec},
        user::{ScimUser, ScimUserSpec, ScimUserStatus},
    },
    check::{
        CheckError,
        subject::{Objects, documents, metadata_of},
    },
};

/// The most that is read of a file: ten thousand users take 5 MiB.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Files that kustomize reads itself. They hold no objects.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Where a document begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    line: u64,
    /// The index in the list that the document is.
    item: Option<usize>,
    /// Which of [`Manifests::objects`] are beside it.
    source: usize,
}

/// What files declare.
#[derive(Default)]
pub struct Manifests {
    /// Secrets, `ConfigMaps`, and other objects of each path that the user gave, and of each link in a folder. A link may
    /// lead to a file of somebody else than the author of the folder.
    objects: Vec<Objects>,
    /// Which of them are read.
    source: usize,
    /// The connections.
    pub(super) connections: Vec<(Place, Value)>,
    /// The users and groups, usable or not.
    pub(super) candidates: Vec<Candidate>,
    /// Objects of the group of the API whose kind is none of it.
    pub(super) strays: Vec<Place>,
}

impl Manifests {
    /// Reads files, folders with all folders in them, and standard input (`-`), in this order. Within a folder, the order
    /// is that of the names. Hidden files, links to folders, and files that are neither YAML nor JSON are left out.
    ///
    /// # Errors
    /// If something cannot be read, or a file holds something else than Kubernetes objects.
    pub fn read(paths: &[PathBuf]) -> Result<Self, DirectoryError> {
        let mut manifests = Self::default();
        for path in paths {
            manifests.begin();
            if path != Path::new("-") && path.is_dir() {
                manifests.read_folder(path)?;
            } else {
                manifests.read_file(path)?;
            }
        }
        Ok(manifests)
    }

    /// What follows does not stand beside what came before.
    fn begin(&mut self) {
        self.source = self.objects.len();
        self.objects.push(Objects::default());
    }

    fn read_folder(&mut self, folder: &Path) -> Result<(), DirectoryError> {
        let fault = |source| DirectoryError::Folder {
            path: folder.to_owned(),
            source,
        };
        let mut entries = fs::read_dir(folder)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(fault)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            if entry.file_type().map_err(fault)?.is_dir() {
                self.read_folder(&path)?;
            } else if path.is_file() && is_manifest(&path) && !KUSTOMIZATIONS.contains(&&*name) {
                let before = self.source;
                if entry.file_type().map_err(fault)?.is_symlink() {
                    self.begin();
                }
                self.read_file(&path)?;
                self.source = before;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), DirectoryError> {
        Ok(self.take_all(path, documents(path, MAX_FILE)?)?)
    }

    /// Takes the documents of a file, each with its line.
    pub(super) fn take_all(&mut self, path: &Path, documents: Vec<(u64, Value)>) -> Result<(), CheckError> {
        if self.objects.is_empty() {
            self.begin();
        }
        for (line, document) in documents {
            let place = Place {
                path: path.to_owned(),
                line,
                item: None,
                source: self.source,
            };
            self.take(&place, document)?;
        }
        Ok(())
    }

    fn take(&mut self, place: &Place, mut document: Value) -> Result<(), CheckError> {
        match document.get("kind").and_then(Value::as_str) {
            Some("ScimBridgeConnection") => self.connections.push((place.clone(), document)),
            Some("ScimUser") => self.candidates.push(candidate(Kind::User, place, &document)),
            Some("ScimGroup") => self.candidates.push(candidate(Kind::Group, place, &document)),
            Some(kind) if is_list(kind) => {
                let items = document.get_mut("items").and_then(Value::as_array_mut);
                let items = items.map(std::mem::take).unwrap_or_default();
                for (index, item) in items.into_iter().enumerate() {
                    let place = Place {
                        item: Some(index),
                        ..place.clone()
                    };
                    self.take(&place, item)?;
                }
            }
            Some(_) if is_of_group(&document) => self.strays.push(place.clone()),
            Some(_) | None => {
                if let Some(objects) = self.objects.get_mut(place.source) {
                    objects.take_from(&place.path, place.line, document)?;
                }
            }
        }
        Ok(())
    }
}

impl Manifests {
    /// The Secrets and `ConfigMaps` that stand beside this place, and all others.
    pub(super) fn objects_beside(&mut self, place: &Place) -> (Objects, Objects) {
        let mut all = std::mem::take(&mut self.objects);
        let own = all.get_mut(place.source).map(std::mem::take).unwrap_or_default();
        let mut others = Objects::default();
        for objects in all {
            others.extend(objects);
        }
        (own, others)
    }
}

fn is_of_group(document: &Value) -> bool {
    let version = document.get("apiVersion").and_then(Value::as_str);
    let group = version.and_then(|version| version.split_once('/'));
    group.is_some_and(|(group, _)| group == ScimUser::group(&()))
}

/// `kubectl get -o yaml` writes a `List`, and others write a list by the name of its kind.
fn is_list(kind: &str) -> bool {
    matches!(
        kind,
        "List" | "ScimBridgeConnectionList" | "ScimUserList" | "ScimGroupList"
    )
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["yaml", "yml", "json"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

fn candidate(kind: Kind, place: &Place, document: &Value) -> Candidate {
    let metadata = metadata_of(document);
    let evidence = match kind {
        Kind::User => Evidence::of(&metadata, status_of(document).as_ref()),
        Kind::Group => Evidence::default(),
    };
    let ObjectMeta { name, namespace, .. } = metadata;
    Candidate {
        kind,
        name,
        namespace,
        // A plan for files is about what they declare. Their status may be older than they are.
        id: None,
        evidence,
        place: Some(place.clone()),
        spec: spec_of(kind, document),
    }
}

/// The status of a user, if it has the form of one.
fn status_of(document: &Value) -> Option<ScimUserStatus> {
    serde_json::from_value(document.get("status")?.clone()).ok()
}

fn spec_of(kind: Kind, document: &Value) -> Result<Spec, Misformed> {
    let version = match kind {
        Kind::User => ScimUser::api_version(&()),
        Kind::Group => ScimGroup::api_version(&()),
    };
    if document.get("apiVersion").and_then(Value::as_str) != Some(&*version) {
        return Err(Misformed::Version(version.into_owned()));
    }
    let spec = document.get("spec").unwrap_or(&Value::Null);
    form::check(kind, spec)?;
    match kind {
        Kind::User => typed::<ScimUserSpec>(spec).map(Spec::User),
        Kind::Group => typed::<ScimGroupSpec>(spec).map(Spec::Group),
    }
}

/// Reads a specification whose form was checked. Times are not: their format is no type.
fn typed<T: DeserializeOwned>(spec: &Value) -> Result<T, Misformed> {
    serde_json::from_value(spec.clone()).map_err(|_| Misformed::Time)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path == Path::new("-") {
            write!(f, "standard input:{}", self.line)
        } else {
            write!(f, "{}:{}", self.path.display(), self.line)
        }?;
        match self.item {
            Some(index) => write!(f, " items[{index}]"),
            None => Ok(()),
        }
    }
}
