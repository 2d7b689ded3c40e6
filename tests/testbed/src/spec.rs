//! Specifications of connections, in few words.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A specification of a connection, or a part of one. It may be wrong: what a test wants is written as it stands.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
#[must_use]
pub struct Spec(Map<String, Value>);

/// An empty specification, to which the test adds fields.
///
/// ```
/// use serde_json::json;
/// use testbed::{connection, spec};
///
/// let corp = spec().url("https://scim.example.com").secret("corp").with("interval", "1m");
/// assert_eq!(
///     connection("identity/corp", corp),
///     json!({
///         "apiVersion": "scimbridge.dev/v1alpha1",
///         "kind": "ScimBridgeConnection",
///         "metadata": {"name": "corp", "namespace": "identity"},
///         "spec": {"url": "https://scim.example.com", "apiKeySecretRef": {"name": "corp"}, "interval": "1m"},
///     })
/// );
/// ```
pub fn spec() -> Spec {
    Spec::default()
}

impl Spec {
    /// Sets a field. Null takes it away.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if value.is_null() {
            self.0.remove(field);
        } else {
            self.0.insert(field.to_owned(), value);
        }
        self
    }

    /// Sets every field of the other one.
    pub fn and(self, more: impl Into<Self>) -> Self {
        let more = more.into().0.into_iter();
        more.fold(self, |spec, (field, value)| spec.with(&field, value))
    }

    /// Where the bridge is.
    pub fn url(self, url: &str) -> Self {
        self.with("url", url)
    }

    /// The Secret with the API key.
    pub fn secret(self, name: &str) -> Self {
        self.with("apiKeySecretRef", json!({"name": name}))
    }

    /// The Secret with the API key, and the entry that holds it.
    pub fn secret_entry(self, name: &str, entry: &str) -> Self {
        self.with("apiKeySecretRef", json!({"name": name, "key": entry}))
    }

    /// The Secret with the next API key.
    pub fn next_secret(self, name: &str) -> Self {
        self.with("nextApiKeySecretRef", json!({"name": name}))
    }

    /// The identity provider.
    pub fn provider(self, name: &str) -> Self {
        self.with("identityProvider", name)
    }

    /// The `ConfigMap` with the bridge's authority.
    pub fn ca(self, name: &str) -> Self {
        self.with("tls", json!({"caRef": {"kind": "ConfigMap", "name": name}}))
    }

    /// The same of another kind, or by another entry.
    pub fn ca_entry(self, kind: &str, name: &str, entry: &str) -> Self {
        self.with(
            "tls",
            json!({"caRef": {"kind": kind, "name": name, "key": entry}}),
        )
    }

    /// No probe comes by itself within a test, and none is given up.
    pub fn patient(self) -> Self {
        self.with("interval", "2h").with("timeout", "60s")
    }

    /// The operator's own type of a specification.
    ///
    /// # Panics
    /// Where the type does not take it.
    #[must_use]
    #[allow(
        clippy::panic,
        reason = "a specification that is wrong fails the test, with what is wrong"
    )]
    pub fn typed<T: DeserializeOwned>(self) -> T {
        serde_json::from_value(self.into())
            .unwrap_or_else(|error| panic!("correct the specification: {error}"))
    }
}

/// A field that is null stays null: [`Spec::and`] takes it away.
impl From<Value> for Spec {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(fields) => Self(fields),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Self::default()
            }
        }
    }
}

impl From<&Value> for Spec {
    fn from(value: &Value) -> Self {
        value.clone().into()
    }
}

impl From<&Self> for Spec {
    fn from(spec: &Self) -> Self {
        spec.clone()
    }
}

impl From<Spec> for Value {
    fn from(spec: Spec) -> Self {
        Self::Object(spec.0)
    }
}

impl From<&Spec> for Value {
    fn from(spec: &Spec) -> Self {
        spec.clone().into()
    }
}

/// The manifest of a connection. The name is one of `corp` and `identity/corp`, with the namespace before it.
#[must_use]
pub fn connection(name: &str, spec: impl Into<Value>) -> Value {
    let metadata = match name.split_once('/') {
        Some((namespace, name)) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    };
    json!({
        "apiVersion": "scimbridge.dev/v1alpha1",
        "kind": "ScimBridgeConnection",
        "metadata": metadata,
        "spec": spec.into(),
    })
}
