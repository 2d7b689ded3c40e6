//! Caches certificate authorities by the version of the object that holds them.
//!
//! The watch reports the newest version of the object; the operator reads it again only when that changes. Certificate
//! authorities are not secret. Keys are never cached.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::reference::Reference;
use crate::{bridge::wire::trust::Bundle, domain::watched::Version};

/// Maximum bytes of certificates. A namespace usually has one or two authorities. If they do not fit, the cache is
/// emptied.
const MAX_SIZE: usize = 1024 * 1024;

/// The cache. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Arc<Mutex<Cache>>);

#[derive(Debug, Default)]
struct Cache {
    /// By object and entry.
    bundles: HashMap<(Reference, String), (Version, Bundle)>,
    size: usize,
}

impl Authorities {
    /// The authorities in an entry of an object, if they are cached in this version.
    pub(super) fn get(&self, object: &Reference, entry: &str, version: &Version) -> Option<Bundle> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (cached, bundle) = cache.bundles.get(&(object.clone(), entry.to_owned()))?;
        (cached == version).then(|| bundle.clone())
    }

    /// Caches the authorities in an entry of an object.
    pub(super) fn put(&self, object: Reference, entry: &str, version: Version, bundle: &Bundle) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.size + bundle.size() > MAX_SIZE {
            *cache = Cache::default();
        }
        cache.size += bundle.size();
        let before = cache
            .bundles
            .insert((object, entry.to_owned()), (version, bundle.clone()));
        cache.size -= before.map_or(0, |(_, before)| before.size());
    }
}
