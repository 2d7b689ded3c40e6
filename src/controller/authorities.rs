//! Certificate authorities that were read, by the version of the object that they came from.
//!
//! They are no secrets, and the watch tells which version is the newest: while that is the one that was read, it need not
//! be read again. Keys are never kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::connection::Reference;
use crate::{bridge::wire::trust::Bundle, domain::watched::Version};

/// So many bytes of certificates are kept. A namespace has one authority or two; where there are more than fit, they are
/// read again.
const BOUND: usize = 1024 * 1024;

/// What is kept. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// By object and entry.
    bundles: HashMap<(Reference, String), (Version, Bundle)>,
    size: usize,
}

impl Authorities {
    /// The authorities in an entry of an object, if they were read in this version.
    pub(super) fn get(&self, object: &Reference, entry: &str, version: &Version) -> Option<Bundle> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, bundle) = kept.bundles.get(&(object.clone(), entry.to_owned()))?;
        (read == version).then(|| bundle.clone())
    }

    /// Keeps what was read.
    pub(super) fn put(&self, object: Reference, entry: &str, version: Version, bundle: &Bundle) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.size + bundle.size() > BOUND {
            *kept = Kept::default();
        }
        kept.size += bundle.size();
        let before = kept
            .bundles
            .insert((object, entry.to_owned()), (version, bundle.clone()));
        kept.size -= before.map_or(0, |(_, before)| before.size());
    }
}
