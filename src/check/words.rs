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

/// What to say instead of a field, in this order: a longer name comes before one that it holds.
const FLAGS: [(&str, &str); 19] = [
    (
        "The entry that spec.tls.caRef names",
        "The file that --ca-file names",
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
    ("The specification", "A flag"),
    ("Ask the operator's administrator for", "Give"),
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
            Self::Fields => text.to_owned(),
            Self::Flags => FLAGS
                .iter()
                .fold(text.to_owned(), |text, (field, flag)| text.replace(field, flag)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::vocabulary::Reason,
        domain::connection::{
            evidence::{Blocker, CaFault, Evidence, Exchange, Reading, TransportFailure},
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
        let blockers = CaFault::ALL
            .into_iter()
            .map(|fault| Evidence::Blocked(Blocker::CaInvalid(fault)));
        failures.chain(blockers).map(|evidence| diagnose(None, &evidence))
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
            let field = ["spec.", "caRef", "Secret", "specification"]
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
}
