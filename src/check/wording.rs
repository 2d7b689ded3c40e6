//! Translates the messages of a status for `check`.
//!
//! A status names fields of the specification. With `check --url` the user gave flags instead, so the same texts must name
//! these flags.

/// How the user gave the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// As an object: messages name its fields.
    Fields,
    /// As an object, but the key by a flag.
    GivenKey,
    /// As flags: messages name them.
    Flags,
}

/// Replacements for the operator, applied in this order: here this program checks, and its user is the administrator.
const HERE: [(&str, &str); 6] = [
    ("Ask the operator's administrator to check", "Check"),
    ("Ask the operator's administrator to give", "Give"),
    ("ask the operator's administrator to ", ""),
    ("the operator's own proxy", "the proxy"),
    ("The operator", "This program"),
    ("the operator", "this program"),
];

/// Replacements for a key that a flag gives, applied in this order.
const KEY: [(&str, &str); 4] = [
    (
        "Store the token alone, without quotes or line break, and encode it in base64 once only.",
        "Write the token alone, without quotes, blanks or line breaks.",
    ),
    ("under that key", "in that file"),
    ("The Secret's entry", "The given key"),
    (
        "into the Secret",
        "where --api-key-file or --api-key-env reads it",
    ),
];

/// Replacements for fields, applied in this order: a longer text comes before one that it contains.
const FLAGS: [(&str, &str); 14] = [
    (
        "the entry that spec.tls.caRef names",
        "the file that --ca-file names",
    ),
    (
        "Raise spec.interval",
        "Wait, and check again. If it lasts, raise the pause of --watch",
    ),
    ("spec.tls.caRef", "--ca-file"),
    ("spec.tls.serverName", "--server-name"),
    (
        "spec.tls has no meaning",
        "--ca-file and --server-name have no meaning",
    ),
    ("spec.identityProvider", "--identity-provider"),
    ("spec.url", "--url"),
    ("spec.timeout", "--timeout"),
    // A single check has no interval. With --watch, the pause is the interval.
    (", and not longer than spec.interval", ""),
    ("spec.interval", "--watch"),
    ("allowPlaintext: true", "--allow-plaintext"),
    ("with allowPlaintext", "with --allow-plaintext"),
    ("cannot use this specification", "cannot use the value of a flag"),
    (
        "Compare the specification with kubectl explain sbc.spec, then apply it again.",
        "Correct the flag; check --help says what it takes.",
    ),
];

impl Wording {
    /// Returns the text in this wording.
    #[must_use]
    pub fn translate(self, text: &str) -> String {
        match self {
            Self::Fields => replaced(text, &HERE),
            Self::GivenKey => replaced(&replaced(text, &HERE), &KEY),
            Self::Flags => replaced(&replaced(&replaced(text, &HERE), &KEY), &FLAGS),
        }
    }
}

fn replaced(text: &str, replacements: &[(&str, &str)]) -> String {
    let text = text.to_owned();
    replacements
        .iter()
        .fold(text, |text, (old, new)| text.replace(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::vocabulary::Reason,
        domain::connection::{
            evidence::{Blocker, CaFault, Denial, Evidence, Exchange, KeyFault, Reading, TransportFailure},
            target::InvalidSpec,
            verdict::{Verdict, diagnose},
        },
    };

    /// A verdict for each way in which the program sent nothing or got no answer.
    fn faults() -> impl Iterator<Item = Verdict> {
        let failures = TransportFailure::ALL.into_iter().map(|failure| {
            Evidence::Probed(Exchange {
                ping: Reading::Failed(failure),
                ..Exchange::default()
            })
        });
        let blockers = CaFault::ALL
            .map(Blocker::CaInvalid)
            .into_iter()
            .chain(Denial::ALL.map(Blocker::HostDenied))
            .chain(KeyFault::ALL.map(Blocker::ApiKeyMalformed))
            .map(Evidence::Blocked);
        failures.chain(blockers).map(|evidence| diagnose(None, &evidence))
    }

    #[test]
    fn flags_name_no_field() {
        // `check --url` reads its key from a file or a variable: no object can be missing.
        let of_objects = |reason: &Reason| {
            matches!(
                reason,
                Reason::SecretNotFound
                    | Reason::SecretKeyMissing
                    | Reason::ConsentMissing
                    | Reason::CaNotFound
            )
        };
        // No flag sets these two.
        let is_set =
            |rule: &InvalidSpec| !matches!(rule, InvalidSpec::Interval | InvalidSpec::FailureThreshold);
        let texts = Reason::ALL
            .iter()
            .filter(|reason| !of_objects(reason))
            .flat_map(|reason| [reason.message().to_owned(), reason.action().to_owned()])
            .chain(
                InvalidSpec::RULES
                    .into_iter()
                    .filter(is_set)
                    .map(|rule| rule.to_string()),
            )
            .chain(faults().map(|verdict| verdict.message()));
        for text in texts {
            let said = Wording::Flags.translate(&text);
            let field = ["spec.", "caRef", "Secret", "specification", "perator"]
                .into_iter()
                .find(|field| said.contains(field));
            assert_eq!(field, None, "add a row to FLAGS: {said}");
        }
    }

    #[test]
    fn advice_for_a_private_authority() {
        let advice = Reason::CertificateUntrusted.action();
        assert!(
            Wording::Fields.translate(advice).contains("spec.tls.caRef"),
            "{advice}"
        );
        assert!(
            Wording::Flags.translate(advice).contains("in --ca-file"),
            "{advice}"
        );
    }

    /// The program that checks is not the operator, and its user is the administrator.
    #[test]
    fn here_is_no_operator() {
        let texts = Reason::ALL
            .iter()
            .flat_map(|reason| [reason.message().to_owned(), reason.action().to_owned()])
            .chain(faults().map(|verdict| verdict.message()));
        for text in texts {
            let said = Wording::Fields.translate(&text);
            assert!(!said.contains("perator"), "add a row to HERE: {said}");
        }
        let denied = diagnose(None, &Evidence::Blocked(Blocker::HostDenied(Denial::Network)));
        assert_eq!(
            Wording::Flags.translate(denied.action()),
            "Correct --url, or take the network out of --deny-cidr. Other flags cannot allow it."
        );
    }
}
