//! What the front plays, as plain data that can be changed while it runs.
//!
//! Nothing here has behaviour: `routes` reads a copy of the state for each request, so a change never tears
//! an answer that is under way. The keys are accepted as input and never given out again.

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    directory::Habits,
    fault::{ConnectionFault, Fault},
};

/// The reports that a bridge lacks after a restart, until somebody presents the key.
pub(crate) const WATCHERS: [&str; 2] = [CONFIRMATION_WATCHER, "StartProvisionWatcher"];
/// The report that tells whether provisioning is on in the 1Password account.
pub(crate) const CONFIRMATION_WATCHER: &str = "ConfirmationWatcher";

/// Everything the front plays. The default is a healthy, unlocked bridge that identity providers push to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct State {
    /// Which service is played.
    pub flavour: Flavour,
    /// Whether identity providers push to the bridge or the bridge pulls from Google Workspace.
    pub mode: Mode,
    /// Provisioning is switched off in the 1Password account: SCIM answers 500, the confirmation watcher is
    /// unhealthy.
    pub provisioning_off: bool,
    /// The bridge was restarted: its watchers report nothing until a request with the key has been answered,
    /// which sets this to `false`.
    pub locked: bool,
    /// `version` of `/health`.
    pub version: String,
    /// `build` of `/health`.
    pub build: String,
    /// The reports of `/health`: source to state, any of both.
    pub components: BTreeMap<String, String>,
    /// How old the reports are. A report expires after ten minutes, so more than 600 makes them stale.
    pub report_age_secs: u32,
    /// Who answers SCIM.
    pub source: Source,
    /// How the directory differs from the standard.
    pub habits: Habits,
    /// How many users the built-in SCIM list has.
    pub users: u32,
    /// How many groups the built-in SCIM list has.
    pub groups: u32,
    /// The built-in SCIM list and the directory ignore `count` and give everything.
    pub ignores_count: bool,
    /// What goes wrong, by prefix of path and query as they were asked for, such as `/scim/Users?startIndex=101`.
    /// A method before it restricts it: `PATCH /scim/Users`. The longest prefix that fits decides, and `/` fits
    /// all. Of two that are equally long, the one with a method decides.
    pub faults: BTreeMap<String, Fault>,
    /// What goes wrong before there is a request.
    pub connection_fault: Option<ConnectionFault>,
    /// The key that is accepted. Write-only.
    #[serde(skip_serializing)]
    pub key: Key,
    /// Further keys that are accepted, as while a key is being replaced. Write-only.
    #[serde(skip_serializing)]
    pub further_keys: Vec<Key>,
}

impl Default for State {
    fn default() -> Self {
        let healthy = [
            "ConfirmationWatcher",
            "RedisCache",
            "SCIMServer",
            "StartProvisionWatcher",
        ];
        Self {
            flavour: Flavour::SelfHosted,
            mode: Mode::Push,
            provisioning_off: false,
            locked: false,
            version: "2.9.16".to_owned(),
            build: "209163".to_owned(),
            components: healthy
                .map(|source| (source.to_owned(), "healthy".to_owned()))
                .into(),
            report_age_secs: 0,
            source: Source::default(),
            habits: Habits::default(),
            users: 3,
            groups: 1,
            ignores_count: false,
            faults: BTreeMap::new(),
            connection_fault: None,
            key: Key::default(),
            further_keys: Vec::new(),
        }
    }
}

impl State {
    /// Sets the fault of a prefix: a path, a path with its query, or a method and either.
    pub fn fault(&mut self, prefix: impl Into<String>, fault: Fault) {
        self.faults.insert(prefix.into(), fault);
    }

    /// Sets the state of one component.
    pub fn component(&mut self, source: impl Into<String>, state: impl Into<String>) {
        self.components.insert(source.into(), state.into());
    }

    /// Changes the state by a JSON merge patch (RFC 7396), or not at all.
    ///
    /// An object with a `kind` is one value, not a set of fields: it is replaced, or a fault would keep
    /// fields of the fault that was there before.
    ///
    /// # Errors
    /// The patch names a field that does not exist or gives one a value that it cannot have.
    pub fn merge(&mut self, patch: Value) -> Result<(), serde_json::Error> {
        let mut document = serde_json::to_value(&*self)?;
        merge(&mut document, patch);
        let has = |field| document.get(field).is_some();
        let (key, further_keys) = (has("key"), has("furtherKeys"));
        let mut changed: Self = serde_json::from_value(document)?;
        // The keys are not part of the document that was patched.
        if !key {
            changed.key.clone_from(&self.key);
        }
        if !further_keys {
            changed.further_keys.clone_from(&self.further_keys);
        }
        *self = changed;
        Ok(())
    }

    /// Whether the value of an Authorization header carries an accepted key.
    pub(crate) fn accepts(&self, authorization: &str) -> bool {
        let Some((scheme, token)) = authorization.split_once(' ') else {
            return false;
        };
        let token = token.trim_start();
        scheme.eq_ignore_ascii_case("bearer")
            && std::iter::once(&self.key)
                .chain(&self.further_keys)
                .any(|key| key.0 == token)
    }

    /// The fault for one request. One that is counted is one less after it.
    pub(crate) fn take_fault(&mut self, method: &str, target: &str) -> Option<Fault> {
        let prefix = self.prefix_of(method, target)?.to_owned();
        let fault = self.faults.get_mut(&prefix)?;
        if let Fault::Times { left, fault } = fault {
            let fault = Fault::clone(fault);
            match NonZeroU32::new(left.get() - 1) {
                Some(rest) => *left = rest,
                None => drop(self.faults.remove(&prefix)),
            }
            return Some(fault);
        }
        Some(fault.clone())
    }

    /// The prefix that decides about a request.
    fn prefix_of(&self, method: &str, target: &str) -> Option<&str> {
        let fits = self.faults.keys().filter_map(|prefix| {
            let (wanted, path) = match prefix.split_once(' ') {
                Some((wanted, path)) => (Some(wanted), path),
                None => (None, prefix.as_str()),
            };
            let fits = wanted.is_none_or(|wanted| wanted == method) && target.starts_with(path);
            fits.then_some((path.len(), wanted.is_some(), prefix.as_str()))
        });
        fits.max().map(|(_, _, prefix)| prefix)
    }
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) if !patch.contains_key("kind") => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}

/// Which service is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// The bridge that a company runs itself.
    #[default]
    SelfHosted,
    /// 1Password's hosted provisioning: `/scim/...` and `/scim/v2/...`, and nothing else.
    Hosted,
}

/// Who answers SCIM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The upstream; without one, the built-in list, which can only be read.
    #[default]
    Upstream,
    /// The front's own directory, even if there is an upstream.
    Directory,
}

/// Who moves the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Identity providers push over SCIM.
    #[default]
    Push,
    /// The bridge pulls from Google Workspace; its SCIM API is off (404).
    GoogleWorkspace,
}

/// A key of the front: comparable, and invisible in debug output.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Default for Key {
    fn default() -> Self {
        Self("bridge-front-key".to_owned())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(..)")
    }
}

impl<T: Into<String>> From<T> for Key {
    fn from(key: T) -> Self {
        Self(key.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Key, State};
    use crate::fault::{Content, Fault};

    #[test]
    fn the_longest_prefix_decides() {
        let mut state = State::default();
        state.fault("/", Fault::Silent);
        state.fault("/scim/Users", Fault::Unauthorized);
        assert_eq!(state.take_fault("GET", "/ping"), Some(Fault::Silent));
        assert_eq!(state.take_fault("GET", "/scim/Users"), Some(Fault::Unauthorized));
        state.faults.remove("/");
        assert_eq!(state.take_fault("GET", "/ping"), None);
    }

    #[test]
    fn a_fault_is_of_one_method_of_one_page_and_of_so_many_requests() {
        let mut state = State::default();
        state.fault("PATCH /scim/Users", Fault::Silent);
        state.fault("/scim/Users", Fault::Html);
        state.fault("/scim/Users?startIndex=101", Fault::Close);
        state.fault("POST /", Fault::Reset.times(2.try_into().unwrap()));
        let cases = [
            ("PATCH", "/scim/Users/7", Some(Fault::Silent)),
            ("GET", "/scim/Users?startIndex=1", Some(Fault::Html)),
            ("GET", "/scim/Users?startIndex=101&count=100", Some(Fault::Close)),
            ("GET", "/ping", None),
            ("POST", "/scim/Groups", Some(Fault::Reset)),
            ("POST", "/scim/Groups", Some(Fault::Reset)),
            ("POST", "/scim/Groups", None),
        ];
        for (method, target, fault) in cases {
            assert_eq!(state.take_fault(method, target), fault, "{method} {target}");
        }
        let nested = Fault::Close.after_the_write().once();
        assert_eq!(nested.unwrapped(), (&Fault::Close, true));
        assert_eq!(Fault::Close.once().unwrapped(), (&Fault::Close, false));
    }

    #[test]
    fn a_patch_replaces_a_fault_whole_and_keeps_the_key() {
        let mut state = State {
            key: Key::from("secret"),
            ..State::default()
        };
        let unavailable = Fault::Status {
            status: 503,
            body: Content::Html,
            retry_after: Some("7".into()),
        };
        state.fault("/ping", unavailable);
        state.fault("/health", Fault::Silent);
        let patch = json!({"faults": {"/ping": {"kind": "status", "status": 500}, "/health": null}});
        state.merge(patch).unwrap();
        let internal = Fault::Status {
            status: 500,
            body: Content::Json,
            retry_after: None,
        };
        assert_eq!(state.faults.get("/ping"), Some(&internal));
        assert_eq!(state.faults.len(), 1);
        assert!(state.accepts("Bearer secret"));

        state.merge(json!({"key": "other"})).unwrap();
        assert!(state.accepts("bearer other") && !state.accepts("Bearer secret"));
        state.merge(json!({"furtherKeys": ["secret"]})).unwrap();
        assert!(state.accepts("Bearer other") && state.accepts("Bearer secret"));
        assert!(!state.accepts("Basic other") && !state.accepts("other"));
    }

    #[test]
    fn a_patch_that_does_not_fit_changes_nothing() {
        let mut state = State::default();
        assert!(state.merge(json!({"locked": true, "lokced": true})).is_err());
        assert!(
            state
                .merge(json!({"faults": {"/": {"kind": "unheard-of"}}}))
                .is_err()
        );
        assert_eq!(state, State::default());
    }

    #[test]
    fn the_key_is_never_shown() {
        let state = State {
            key: "canary".into(),
            further_keys: vec!["canary".into()],
            ..State::default()
        };
        assert!(!serde_json::to_string(&state).unwrap().contains("canary"));
        assert!(!format!("{state:?}").contains("canary"));
    }
}
