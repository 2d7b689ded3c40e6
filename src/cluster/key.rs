//! Names of objects.

use std::sync::Arc;

/// The name of an object in its namespace. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// `metadata.namespace`
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Arc<str>,
}

// === impl Key ===

impl Key {
    /// The key of the object with this name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Its namespace and name.
    #[must_use]
    pub fn names(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}
