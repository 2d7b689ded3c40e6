//! References from a connection to other objects.

use std::sync::Arc;

use crate::api::connection::CaKind;

/// The kinds of objects that a connection may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// `v1/Secret`
    Secret,
    /// `v1/ConfigMap`
    ConfigMap,
}

/// An object that a connection refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The kind.
    pub kind: ReferenceKind,
    /// The namespace: always that of the connection.
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
}

// === impl Reference ===

impl Reference {
    /// A reference to the object with this kind and name.
    #[must_use]
    pub fn new(kind: ReferenceKind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl From<CaKind> for ReferenceKind {
    fn from(kind: CaKind) -> Self {
        match kind {
            CaKind::ConfigMap => Self::ConfigMap,
            CaKind::Secret => Self::Secret,
        }
    }
}
