//! Advice in the words of where the reader is.
//!
//! Messages and advice name fields of the specification, as a status has to. With `check --url` there is no
//! specification: there the same texts name the flag that stands for the field.

/// How the reader has given the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// As an object with fields.
    Fields,
    /// As flags.
    Flags,
}

/// What to say instead of the operator, in this order: here this program checks, and its user is its administrator.
const HERE: [(&str, &str); 6] = [
    ("Ask the operator's administrator to check", "Check"),
    ("Ask the operator's administrator to give", "Give"),
    ("ask the operator's administrator to ", ""),
    ("the operator's own proxy", "the proxy"),
    ("The operator", "This program"),
    ("the operator", "this program"),
];

/// What to say instead of a field, in this order: a longer name comes before one that it holds.
const FLAGS: [(&str, &str); 18] = [
    (
        "the entry that spec.tls.caRef names",
        "the file that --ca-file names",
    ),
    (
        "Store the token alone, without quotes or line break, and encode it in base64 once only.",
        "Write the token alone, without quotes, blanks or line breaks.",
    ),
    ("under that key", "in that file"),
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
    // One check has no interval; checks that repeat themselves have a pause.
    (", and not longer than spec.interval", ""),
    ("spec.interval", "--watch"),
    ("allowPlaintext: true", "--allow-plaintext"),
    ("with allowPlaintext", "with --allow-plaintext"),
    ("The Secret's entry", "The given key"),
    (
        "into the Secret",
        "where --api-key-file or --api-key-env reads it",
    ),
    ("cannot use this specification", "cannot use the value of a flag"),
    (
        "Compare the specification with the field reference in the README, then apply it again.",
        "Correct the flag; check --help says what it takes.",
    ),
];

impl Words {
    /// The text in these words.
    #[must_use]
    pub fn say(self, text: &str) -> String {
        match self {
            Self::Fields => said(text, &HERE),
            Self::Flags => said(&said(text, &HERE), &FLAGS),
        }
    }
}

fn said(text: &str, instead: &[(&str, &str)]) -> String {
    let text = text.to_owned();
    instead
        .iter()
        .fold(text, |text, (words, here)| text.replace(words, here))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::vocabulary::Reason,
        domain::{
            evidence::{CaFault, Denial, Evidence, Exchange, KeyFault, Obstacle, Reading, TransportFailure},
            target::InvalidSpec,
            verdict::{Verdict, diagnose},
        },
    };

    /// A verdict of each way in which nothing was sent or nothing arrived.
    fn faults() -> impl Iterator<Item = Verdict> {
        let failures = TransportFailure::ALL.into_iter().map(|failure| {
            Evidence::Probed(Exchange {
                ping: Reading::Failed(failure),
                ..Exchange::default()
            })
        });
        let obstacles = CaFault::ALL
            .map(Obstacle::CaInvalid)
            .into_iter()
            .chain(Denial::ALL.map(Obstacle::HostDenied))
            .chain(KeyFault::ALL.map(Obstacle::ApiKeyMalformed))
            .map(Evidence::Blocked);
        failures
            .chain(obstacles)
            .map(|evidence| diagnose(None, &evidence))
    }

    #[test]
    fn flags_name_no_field() {
        // `check --url` takes its key from a file or a variable: no object can be missing.
        let of_objects = |reason: &Reason| {
            matches!(
                reason,
                Reason::SecretNotFound
                    | Reason::SecretKeyMissing
                    | Reason::ConsentMissing
                    | Reason::CaNotFound
            )
        };
        let rules = [
            InvalidSpec::Url,
            InvalidSpec::Length,
            InvalidSpec::Characters,
            InvalidSpec::Host,
            InvalidSpec::Address,
            InvalidSpec::Port,
            InvalidSpec::Scheme,
            InvalidSpec::Plaintext,
            InvalidSpec::UserInfo,
            InvalidSpec::QueryOrFragment,
            InvalidSpec::Path,
            InvalidSpec::TlsOnPlaintext,
            InvalidSpec::Timeout,
            InvalidSpec::ServerName,
        ];
        let texts = Reason::ALL
            .iter()
            .filter(|reason| !of_objects(reason))
            .flat_map(|reason| [reason.message().to_owned(), reason.action().to_owned()])
            .chain(rules.map(|rule| rule.to_string()))
            .chain(faults().map(|verdict| verdict.message()));
        for text in texts {
            let said = Words::Flags.say(&text);
            let field = ["spec.", "caRef", "Secret", "specification", "perator"]
                .into_iter()
                .find(|field| said.contains(field));
            assert_eq!(field, None, "add a row to FLAGS: {said}");
        }
    }

    #[test]
    fn advice_for_a_private_authority() {
        let advice = Reason::CertificateUntrusted.action();
        assert!(Words::Fields.say(advice).contains("spec.tls.caRef"), "{advice}");
        assert!(Words::Flags.say(advice).contains("in --ca-file"), "{advice}");
    }

    /// `check` speaks of itself, and to the one who has given its flags.
    #[test]
    fn here_is_no_operator() {
        let texts = Reason::ALL
            .iter()
            .flat_map(|reason| [reason.message().to_owned(), reason.action().to_owned()])
            .chain(faults().map(|verdict| verdict.message()));
        for text in texts {
            let said = Words::Fields.say(&text);
            assert!(!said.contains("perator"), "add a row to HERE: {said}");
        }
        let denied = diagnose(None, &Evidence::Blocked(Obstacle::HostDenied(Denial::Network)));
        assert_eq!(
            Words::Flags.say(denied.action()),
            "Correct --url, or take the network out of --deny-cidr. Other flags cannot allow it."
        );
    }
}
