//! The objects that a connection refers to, by the role that each has.

/// What a referenced object is for.
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
    /// Every role, in the order in which changes count as the cause of a probe.
    pub const ALL: [Self; 3] = [Self::Credential, Self::Ca, Self::NextCredential];
}

/// One value for each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct PerRole<T> {
    /// Of the Secret with the key.
    pub credential: T,
    /// Of the CA object.
    pub ca: T,
    /// Of the Secret with the next key.
    pub next_credential: T,
}

impl<T> PerRole<T> {
    /// The values that `make` gives.
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

    /// Each value, changed.
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
