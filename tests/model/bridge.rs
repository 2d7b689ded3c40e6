//! The bridge: which key it accepts, and how it is.

use std::time::Duration;

use scim_bridge_operator::{
    api::vocabulary::Reason,
    domain::evidence::{
        Answer, Exchange, HealthReport, KeyTrial, NameFault, Obstacle, Phase, Reading, TransportFailure,
    },
};

/// What a bridge asks for where it has too much to do.
pub(crate) const RETRY_AFTER: Duration = Duration::from_mins(10);

/// How a bridge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// It works.
    Up,
    /// It works for Google Workspace.
    ScimOff,
    /// Nobody accepts connections.
    Away,
    /// Its proxy says that it is away. Every request is answered so: the key is sent.
    Unavailable,
    /// It asks for fewer requests.
    Busy,
    /// It takes the key and does not answer.
    Silent,
    /// Something else is at its address.
    Stranger,
    /// A router without a way to it: 404 to everything.
    Unrouted,
    /// The edge cannot reach it, and says so with a status that only edges use.
    Edge,
    /// A firewall in front of it refuses everything with a page.
    Firewall,
    /// A front leads everything elsewhere.
    Redirecting,
    /// A front presents its own certificate.
    DefaultCertificate,
}

impl Mode {
    /// Whether a bridge answers, in a way that says something of the key.
    pub(crate) const fn is_heard(self) -> bool {
        matches!(self, Self::Up | Self::ScimOff)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bridge {
    pub(crate) accepts: u8,
    pub(crate) mode: Mode,
}

/// What became of a probe, as the bridge knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reception {
    /// The key did not arrive.
    NotAsked,
    /// The key arrived, and the answer says nothing of it.
    Unclear,
    /// The bridge refused the key.
    Refused,
    /// The bridge accepted the key; its SCIM API is off.
    AcceptedWithoutScim,
    /// The SCIM API answered the key.
    Accepted,
}

impl Bridge {
    /// The answer to a key, and what the bridge knows of it.
    pub(crate) fn answer(self, key: u8, next_key: Option<Result<u8, Obstacle>>) -> (Exchange, Reception) {
        let accepts = self.accepts == key;
        let failing = |answer: &Answer<()>| Exchange {
            ping: Reading::Answered(answer.clone()),
            health: Reading::Answered(rename(answer)),
            users: Reading::Answered(rename(answer)),
            ..Exchange::default()
        };
        let (mut exchange, reception) = match self.mode {
            Mode::Up | Mode::ScimOff if !accepts => (
                Exchange {
                    ping: Reading::Answered(Answer::Document(())),
                    health: Reading::Answered(Answer::Unauthorized),
                    users: Reading::Answered(Answer::Unauthorized),
                    ..Exchange::default()
                },
                Reception::Refused,
            ),
            Mode::Up | Mode::ScimOff => {
                let off = self.mode == Mode::ScimOff;
                (
                    Exchange {
                        ping: Reading::Answered(Answer::Document(())),
                        health: Reading::Answered(Answer::Document(HealthReport::default())),
                        users: Reading::Answered(if off {
                            Answer::NotFound
                        } else {
                            Answer::Document(3)
                        }),
                        ..Exchange::default()
                    },
                    if off {
                        Reception::AcceptedWithoutScim
                    } else {
                        Reception::Accepted
                    },
                )
            }
            Mode::Away => (
                Exchange {
                    ping: Reading::Failed(TransportFailure::Connect),
                    ..Exchange::default()
                },
                Reception::NotAsked,
            ),
            Mode::Stranger => (
                Exchange {
                    ping: Reading::Answered(Answer::Foreign),
                    ..Exchange::default()
                },
                Reception::NotAsked,
            ),
            Mode::DefaultCertificate => (
                Exchange {
                    ping: Reading::Failed(TransportFailure::CertificateNameMismatch(NameFault::Other)),
                    ..Exchange::default()
                },
                Reception::NotAsked,
            ),
            Mode::Unavailable => (failing(&Answer::Unavailable(503)), Reception::Unclear),
            Mode::Unrouted => (failing(&Answer::NotFound), Reception::Unclear),
            Mode::Edge => (failing(&Answer::Unavailable(530)), Reception::Unclear),
            Mode::Firewall => (failing(&Answer::Blocked(403)), Reception::Unclear),
            Mode::Redirecting => (failing(&Answer::Redirect(302)), Reception::Unclear),
            Mode::Busy => (
                Exchange {
                    retry_after: Some(RETRY_AFTER),
                    ..failing(&Answer::RateLimited)
                },
                Reception::Unclear,
            ),
            Mode::Silent => (
                Exchange {
                    ping: Reading::Answered(Answer::Document(())),
                    health: Reading::Failed(TransportFailure::TimedOut(Phase::Answer)),
                    ..Exchange::default()
                },
                Reception::Unclear,
            ),
        };
        exchange.next_key = next_key.map(|next| match next {
            Err(obstacle) => KeyTrial::Unusable(obstacle),
            Ok(_) if !self.mode.is_heard() => KeyTrial::Undecided,
            Ok(next) if self.accepts == next => KeyTrial::Accepted,
            Ok(_) => KeyTrial::Refused,
        });
        (exchange, reception)
    }

    /// What is true of it with this key, in one word.
    pub(crate) fn truth(self, key: u8, google: bool) -> Reason {
        match self.mode {
            Mode::Up | Mode::ScimOff if self.accepts != key => Reason::AuthFailed,
            Mode::Up if google => Reason::IdentityProviderMismatch,
            Mode::Up => Reason::Connected,
            Mode::ScimOff => Reason::ScimDisabled,
            Mode::Away => Reason::ConnectFailed,
            Mode::Unavailable | Mode::Edge => Reason::BridgeUnavailable,
            Mode::Busy => Reason::RateLimited,
            Mode::Silent => Reason::TimedOut,
            Mode::Stranger => Reason::NotABridge,
            Mode::Unrouted => Reason::PathNotFound,
            Mode::Firewall => Reason::BlockedByProxy,
            Mode::Redirecting => Reason::RedirectRefused,
            Mode::DefaultCertificate => Reason::CertificateNameMismatch,
        }
    }
}

/// The same failure as the answer to another request.
fn rename<T>(answer: &Answer<()>) -> Answer<T> {
    match answer {
        Answer::Unavailable(status) => Answer::Unavailable(*status),
        Answer::RateLimited => Answer::RateLimited,
        Answer::NotFound => Answer::NotFound,
        Answer::Blocked(status) => Answer::Blocked(*status),
        Answer::Redirect(status) => Answer::Redirect(*status),
        Answer::Document(())
        | Answer::Unauthorized
        | Answer::Forbidden
        | Answer::ServerError(_)
        | Answer::Foreign
        | Answer::Page
        | Answer::TooLarge
        | Answer::Broken
        | Answer::Encoded
        | Answer::Unexpected(_) => Answer::Foreign,
    }
}
