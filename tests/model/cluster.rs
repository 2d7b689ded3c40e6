//! The cluster as the operator meets it: one connection and what it names, versions, a status that is written by
//! optimistic locking, and what the watches tell of each change.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use scim_bridge_operator::{
    api::{
        REQUESTED_AT_ANNOTATION,
        connection::{
            ApiKeySecretRef, CaKind, CaRef, IdentityProvider, ObjectVersion, ScimBridgeConnectionSpec,
            ScimBridgeConnectionStatus, TlsSpec,
        },
        duration::HumanDuration,
    },
    cluster::key::Key,
    controller::connection::Connection,
    domain::watched::Seen,
    resolve::reference::{Reference, ReferenceKind},
};

/// Versions, generations and probes count from numbers of their own, so that each can be told in a text.
pub(crate) const FIRST_VERSION: u64 = 7_000_000_000;
pub(crate) const FIRST_GENERATION: i64 = 5_000_000_000;

/// The host of the bridge.
pub(crate) const BRIDGE: &str = "a.example";
/// The host of another bridge, which knows none of the keys.
pub(crate) const ANOTHER_BRIDGE: &str = "b.example";

/// The objects that a connection may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    Key,
    Ca,
    NextKey,
}

/// An object that a connection names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) version: ObjectVersion,
    /// Which key it holds; 0 for one that is none. Of a CA object: 0 for one without a certificate.
    pub(crate) value: u8,
    /// Whether its annotation lets the key go to the bridge.
    pub(crate) consents: bool,
}

/// The connection.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) version: u64,
    pub(crate) spec: ScimBridgeConnectionSpec,
    /// Whether it has the form of the resource.
    pub(crate) readable: bool,
    pub(crate) requested: Option<u32>,
    pub(crate) deleting: bool,
    pub(crate) status: ScimBridgeConnectionStatus,
}

/// What the watches tell.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Applied(Box<Connection>),
    Deleted,
}

/// An edit of the specification: each is a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// To the other bridge, or back.
    Url,
    /// To an address that cannot be used, or back.
    BadUrl,
    Interval(u64),
    Threshold(u8),
    Suspend(bool),
    Google(bool),
    Ca(bool),
    NextKey(bool),
}

/// Why a status was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Conflict,
    NotFound,
}

#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    revision: u64,
    uids: u32,
    pub(crate) object: Option<Object>,
    pub(crate) key: Option<Stored>,
    pub(crate) ca: Option<Stored>,
    pub(crate) next_key: Option<Stored>,
}

/// The name of the one connection.
pub(crate) fn name() -> Key {
    Key {
        namespace: "identity".into(),
        name: "corp".into(),
    }
}

// === impl Named ===

impl Named {
    pub(crate) const ALL: [Self; 3] = [Self::Key, Self::Ca, Self::NextKey];

    pub(crate) fn reference(self) -> Reference {
        let (kind, name) = match self {
            Self::Key => (ReferenceKind::Secret, "key"),
            Self::Ca => (ReferenceKind::ConfigMap, "ca"),
            Self::NextKey => (ReferenceKind::Secret, "next"),
        };
        Reference {
            kind,
            namespace: "identity".into(),
            name: name.into(),
        }
    }
}

// === impl Object ===

impl Object {
    /// As the operator reads it.
    pub(crate) fn read(&self) -> Connection {
        let annotations = self
            .requested
            .map(|number| [(REQUESTED_AT_ANNOTATION.to_owned(), number.to_string())].into());
        let metadata = ObjectMeta {
            uid: Some(self.uid.clone()),
            generation: Some(self.generation),
            resource_version: Some(self.version.to_string()),
            deletion_timestamp: self.deleting.then_some(Time(Timestamp::UNIX_EPOCH)),
            annotations,
            ..ObjectMeta::default()
        };
        Connection {
            metadata,
            spec: self.readable.then(|| self.spec.clone()),
            status: self.status.clone(),
        }
    }

    pub(crate) fn is_dormant(&self) -> bool {
        self.deleting || (self.readable && self.spec.suspend)
    }
}

// === impl Cluster ===

impl Cluster {
    /// A connection that was just applied, with its Secret.
    pub(crate) fn new(interval: u64, threshold: u8) -> Self {
        let mut cluster = Self {
            revision: FIRST_VERSION,
            uids: 0,
            object: None,
            key: None,
            ca: None,
            next_key: None,
        };
        cluster.store(Named::Key, 1);
        cluster.create(interval, threshold);
        cluster
    }

    fn bump(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("uid-{}", self.uids)
    }

    pub(crate) fn create(&mut self, interval: u64, threshold: u8) {
        self.object = Some(Object {
            uid: self.uid(),
            generation: FIRST_GENERATION,
            version: self.bump(),
            spec: ScimBridgeConnectionSpec {
                url: format!("https://{BRIDGE}"),
                api_key_secret_ref: ApiKeySecretRef {
                    name: "key".to_owned(),
                    key: "apiKey".to_owned(),
                },
                identity_provider: None,
                interval: HumanDuration::from_secs(interval),
                timeout: HumanDuration::from_secs(10),
                failure_threshold: threshold,
                suspend: false,
                allow_plaintext: false,
                tls: None,
                next_api_key_secret_ref: None,
                provisioning: None,
            },
            readable: true,
            requested: None,
            deleting: false,
            status: ScimBridgeConnectionStatus {
                observed_generation: -1,
                ..ScimBridgeConnectionStatus::default()
            },
        });
    }

    /// Changes the object, if there is one, under a new version.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Object)) -> bool {
        let version = self.revision + 1;
        let Some(object) = &mut self.object else {
            return false;
        };
        change(object);
        object.version = version;
        self.revision = version;
        true
    }

    pub(crate) fn edit(&mut self, edit: Edit) -> bool {
        self.change(|object| {
            object.generation += 1;
            let spec = &mut object.spec;
            let flip = |url: &str, from: &str| {
                format!("https://{}", if url.ends_with(from) { BRIDGE } else { from })
            };
            match edit {
                Edit::Url => spec.url = flip(&spec.url, ANOTHER_BRIDGE),
                Edit::BadUrl => spec.url = flip(&spec.url, "a.example/elsewhere"),
                Edit::Interval(seconds) => spec.interval = HumanDuration::from_secs(seconds),
                Edit::Threshold(threshold) => spec.failure_threshold = threshold,
                Edit::Suspend(suspend) => spec.suspend = suspend,
                Edit::Google(google) => {
                    spec.identity_provider = google.then_some(IdentityProvider::GoogleWorkspace);
                }
                Edit::Ca(wanted) => {
                    spec.tls = wanted.then(|| TlsSpec {
                        ca_ref: Some(CaRef {
                            kind: CaKind::ConfigMap,
                            name: "ca".to_owned(),
                            key: "ca.crt".to_owned(),
                        }),
                        server_name: None,
                    });
                }
                Edit::NextKey(wanted) => {
                    spec.next_api_key_secret_ref = wanted.then(|| ApiKeySecretRef {
                        name: "next".to_owned(),
                        key: "apiKey".to_owned(),
                    });
                }
            }
        })
    }

    pub(crate) fn slot(&self, named: Named) -> Option<&Stored> {
        match named {
            Named::Key => self.key.as_ref(),
            Named::Ca => self.ca.as_ref(),
            Named::NextKey => self.next_key.as_ref(),
        }
    }

    fn slot_mut(&mut self, named: Named) -> &mut Option<Stored> {
        match named {
            Named::Key => &mut self.key,
            Named::Ca => &mut self.ca,
            Named::NextKey => &mut self.next_key,
        }
    }

    /// Creates or updates what a connection names.
    pub(crate) fn store(&mut self, named: Named, value: u8) {
        let uid = match self.slot(named) {
            Some(stored) => stored.version.uid.clone(),
            None => self.uid(),
        };
        let consents = self.slot(named).is_none_or(|stored| stored.consents);
        let version = ObjectVersion {
            uid,
            resource_version: self.bump().to_string(),
        };
        *self.slot_mut(named) = Some(Stored {
            version,
            value,
            consents,
        });
    }

    /// Lets the key go to the bridge, or no longer.
    pub(crate) fn consent(&mut self, consents: bool) -> bool {
        let version = self.revision + 1;
        let Some(stored) = &mut self.key else {
            return false;
        };
        stored.consents = consents;
        stored.version.resource_version = version.to_string();
        self.revision = version;
        true
    }

    pub(crate) fn remove(&mut self, named: Named) -> bool {
        let existed = self.slot_mut(named).take().is_some();
        if existed {
            self.bump();
        }
        existed
    }

    /// What a watch of metadata tells of an object.
    pub(crate) fn seen(&self, named: Named) -> Seen {
        self.slot(named).map_or(Seen::Absent, |stored| {
            Seen::Present(stored.version.clone().into())
        })
    }

    /// What a watch of metadata tells of an object that was just deleted.
    pub(crate) fn deleted(&self) -> Seen {
        Seen::Deleted(self.revision.to_string().into())
    }

    /// The apply of a status, as the API server answers it: 409 where the version has passed; no new version where it
    /// changes nothing.
    pub(crate) fn write(
        &mut self,
        version: Option<&str>,
        status: &ScimBridgeConnectionStatus,
    ) -> Result<&Object, Refused> {
        let next = self.revision + 1;
        let object = self.object.as_mut().ok_or(Refused::NotFound)?;
        if version != Some(object.version.to_string().as_str()) {
            return Err(Refused::Conflict);
        }
        if object.status != *status {
            object.status.clone_from(status);
            object.version = next;
            self.revision = next;
        }
        Ok(object)
    }
}
