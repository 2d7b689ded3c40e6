//! The roles of the objects that a connection references.

/// The purpose of a referenced object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The Secret with the key: `spec.apiKeySecretRef`.
    Credential,
    /// The CA object: `spec.tls.caRef`.
    Ca,
    /// The Secret with the next key: `spec.nextApiKeySecretRef`.
    NextCredential,
}

impl Role {
    /// Every role. If several objects changed, the first in this order is the cause of the probe.
    pub const ALL: [Self; 3] = [Self::Credential, Self::Ca, Self::NextCredential];
}

/// One value for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct PerRole<T> {
    /// The value of the Secret with the key.
    pub credential: T,
    /// The value of the CA object.
    pub ca: T,
    /// The value of the Secret with the next key.
    pub next_credential: T,
}

impl<T> PerRole<T> {
    /// One value from `make` for each role.
    pub fn from_fn(mut make: impl FnMut(Role) -> T) -> Self {
        Self {
            credential: make(Role::Credential),
            ca: make(Role::Ca),
            next_credential: make(Role::NextCredential),
        }
    }

    /// The value of a role.
    #[must_use]
    pub const fn get(&self, role: Role) -> &T {
        match role {
            Role::Credential => &self.credential,
            Role::Ca => &self.ca,
            Role::NextCredential => &self.next_credential,
        }
    }

    /// Applies `change` to each value.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> PerRole<U> {
        PerRole {
            credential: change(self.credential),
            ca: change(self.ca),
            next_credential: change(self.next_credential),
        }
    }

    /// The values, in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        Role::ALL.into_iter().map(|role| self.get(role))
    }
}
