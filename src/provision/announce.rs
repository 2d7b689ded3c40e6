//! Announce: records events for people. They name objects, never the users and groups of a bridge.
//!
//! Thousands of objects may change at once. So an object has an event only for what somebody has to know or may have to
//! show later. A planned change has none, and neither has a rename, a new member, or an account that was taken over as it
//! was. For all of them together, the connection has one.

use k8s_openapi::api::core::v1::ObjectReference;

use super::declared::{DirectoryKind, Evidence, ready_reason};
use crate::{
    api::{
        connection::ScimBridgeConnection,
        directory::{Origin, ProvisioningMode, Reason},
        user::SuspensionTimes,
        vocabulary::{Class, EventType},
    },
    cluster::key::Key,
    domain::directory::{plan::Pending, status::DirectoryReport},
    report::events::{EventRecorder, Occurrence},
};

/// What the operator was doing, in events.
const ACTION: &str = "Provisioning";

/// Something to tell about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    type_: EventType,
    reason: &'static str,
    note: String,
}

fn told(type_: EventType, reason: &'static str, note: impl Into<String>) -> Told {
    Told {
        type_,
        reason,
        note: note.into(),
    }
}

fn record<K: kube::Resource<DynamicType = ()>>(
    recorder: &EventRecorder,
    (namespace, name): (&str, &str),
    uid: &str,
    news: Vec<Told>,
) {
    let regarding = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    for Told { type_, reason, note } in news {
        let occurrence = Occurrence {
            type_,
            reason,
            action: ACTION,
            note,
            related: None,
        };
        recorder.record(&regarding, occurrence);
    }
}

/// Records an event for each thing that a new status of an object says and that somebody has to know.
pub(super) fn announce_object<K: DirectoryKind>(
    recorder: &EventRecorder,
    namespace: &str,
    name: &str,
    uid: &str,
    before: &K::Status,
    after: &K::Status,
) {
    record::<K>(
        recorder,
        (namespace, name),
        uid,
        news_of_object::<K>(before, after),
    );
}

fn news_of_object<K: DirectoryKind>(before: &K::Status, after: &K::Status) -> Vec<Told> {
    let reason_of = |status: &K::Status| ready_reason(K::parts(status).1).and_then(Reason::parse);
    let (was, is) = (reason_of(before), reason_of(after));
    let mut news = Vec::new();
    if is_new::<K>(before, after) {
        news.extend(match K::evidence(after).origin {
            Some(Origin::Created) => Some(told(
                EventType::Normal,
                "Created",
                "The bridge shows the account or group that the operator created for this object.",
            )),
            // An account that is taken over unchanged needs no request, and there may be thousands.
            Some(Origin::Adopted) if is.is_some_and(|is| is.class() != Class::Ok) => Some(told(
                EventType::Normal,
                "Adopted",
                "This object took over an account or group that was there before. The operator changes it as declared.",
            )),
            Some(Origin::Adopted) | None => None,
        });
    }
    let proof = proof::<K>(before, after);
    let Some(reason) = is.filter(|_| was != is || proof.is_some()) else {
        return news;
    };
    let is_trouble = |reason: Reason| {
        reason.class() == Class::Action && !matches!(reason, Reason::ChangePlanned | Reason::Held)
    };
    let type_ = if is_trouble(reason) {
        EventType::Warning
    } else if reason.class() == Class::Ok && (was.is_some_and(is_trouble) || proof.is_some()) {
        EventType::Normal
    } else {
        return news;
    };
    let sentences = [
        reason.message(),
        proof.as_deref().unwrap_or_default(),
        reason.action(),
    ];
    let sentences: Vec<&str> = sentences
        .into_iter()
        .filter(|sentence| !sentence.is_empty())
        .collect();
    news.push(told(type_, reason.as_str(), sentences.join(" ")));
    news
}

/// Whether the object stands for an account or group only now.
fn is_new<K: DirectoryKind>(before: &K::Status, after: &K::Status) -> bool {
    let (_, _, id_before) = K::parts(before);
    let (_, _, id) = K::parts(after);
    id_before.is_none() && id.is_some()
}

/// When a suspension was asked for, sent and proven, if only the new status says that it is. A suspension that the
/// operator did not send has no event: an account may have been suspended for years.
fn proof<K: DirectoryKind>(before: &K::Status, after: &K::Status) -> Option<String> {
    let Evidence { suspension: was, .. } = K::evidence(before);
    let SuspensionTimes {
        requested_at: Some(requested),
        sent_at: Some(sent),
        proven_at: Some(proven),
    } = K::evidence(after).suspension?
    else {
        return None;
    };
    let is_known = was.is_some_and(|was| was.proven_at.is_some());
    let [requested, sent, proven] = [requested.0, sent.0, proven.0];
    (!is_known).then(|| {
        format!("The suspension was asked for at {requested}, sent at {sent} and proven at {proven}.")
    })
}

/// Records an event for each change of what a connection says about its directory. `summary` is the plan in numbers.
pub(super) fn announce_directory(
    recorder: &EventRecorder,
    key: &Key,
    uid: &str,
    before: Option<&DirectoryReport>,
    after: &DirectoryReport,
    (mode, summary): (ProvisioningMode, &str),
) {
    record::<ScimBridgeConnection>(
        recorder,
        key.names(),
        uid,
        news_of_directory(before, after, mode, summary),
    );
}

fn news_of_directory(
    before: Option<&DirectoryReport>,
    after: &DirectoryReport,
    mode: ProvisioningMode,
    summary: &str,
) -> Vec<Told> {
    let was_incomplete = before.and_then(|before| before.incomplete.as_ref());
    let mut news = match (was_incomplete, &after.incomplete) {
        (None, Some((_, message))) => {
            vec![told(EventType::Warning, "DirectoryIncomplete", message.as_str())]
        }
        (Some(_), None) => vec![told(
            EventType::Normal,
            "DirectoryComplete",
            "The operator knows all users and groups of this directory again.",
        )],
        (None, None) | (Some(_), Some(_)) => Vec::new(),
    };
    // After a restart nobody knows what was announced.
    let Some(before) = before else {
        return news;
    };
    for released in &after.released {
        if !before.released.contains(released) {
            let kind = if released.count == 1 {
                released.kind.singular()
            } else {
                released.kind.as_str()
            };
            let (count, digest) = (released.count, &released.digest);
            news.push(told(
                EventType::Normal,
                "ChangesReleased",
                format!(
                    "Somebody released {count} {kind} with digest {digest}. The operator sends them now."
                ),
            ));
        }
    }
    if after.contested > before.contested {
        let count = after.contested;
        news.push(told(
            EventType::Warning,
            "ChangesContested",
            format!(
                "Somebody else changed back what the operator had set, twice within a day: {count} users and groups. \
                 The operator leaves them alone."
            ),
        ));
    }
    let has_held = |report: &DirectoryReport| report.pending.iter().any(|pending| pending.held);
    let news_of_plan = match mode {
        ProvisioningMode::Plan if before.pending != after.pending => Some(if has_held(after) {
            (EventType::Warning, "ChangesHeld")
        } else {
            (EventType::Normal, "PlanChanged")
        }),
        // Each answer changes the plan. Only a set that waits for a person is worth an event.
        ProvisioningMode::Manage if after.pending.iter().any(|pending| is_held_anew(pending, before)) => {
            Some((EventType::Warning, "ChangesHeld"))
        }
        ProvisioningMode::Manage if has_held(before) && !has_held(after) => {
            Some((EventType::Normal, "ChangesNotHeld"))
        }
        ProvisioningMode::Plan | ProvisioningMode::Manage => None,
    };
    news.extend(
        news_of_plan.map(|(type_, reason)| told(type_, reason, format!("The plan changed: {summary}."))),
    );
    news
}

/// Whether this very set was not held before.
fn is_held_anew(pending: &Pending, before: &DirectoryReport) -> bool {
    let was_held =
        |known: &Pending| known.held && known.kind == pending.kind && known.digest == pending.digest;
    pending.held && !before.pending.iter().any(was_held)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;
    use crate::{
        api::{
            directory::{ChangeKind, ReleasedChanges},
            group::{ScimGroup, ScimGroupStatus},
            user::{ScimUser, ScimUserStatus},
        },
        domain::directory::budget::Digest,
    };

    fn time(minute: u32) -> Time {
        Time(format!("2026-06-01T12:{minute:02}:00Z").parse().unwrap())
    }

    /// `REASON [id] [created|adopted] [sent] [proven]`
    fn user(text: &str) -> ScimUserStatus {
        let words: Vec<&str> = text.split_whitespace().collect();
        let has = |word: &str| words.contains(&word);
        let ready = Condition {
            type_: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: words.first().copied().unwrap_or_default().to_owned(),
            message: String::new(),
            last_transition_time: time(0),
            observed_generation: None,
        };
        ScimUserStatus {
            conditions: vec![ready],
            id: has("id").then(|| "ID1".to_owned()),
            origin: has("created")
                .then_some(Origin::Created)
                .or_else(|| has("adopted").then_some(Origin::Adopted)),
            suspension: Some(SuspensionTimes {
                requested_at: Some(time(1)),
                sent_at: has("sent").then(|| time(2)),
                proven_at: has("proven").then(|| time(3)),
            }),
            ..ScimUserStatus::default()
        }
    }

    fn reasons(news: &[Told]) -> String {
        let words = news
            .iter()
            .map(|told| format!("{:?}:{}", told.type_, told.reason));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_object_tells_what_somebody_has_to_know() {
        for (before, after, told) in [
            // Nothing of it is news to a person.
            ("", "ChangePlanned", ""),
            ("ChangePlanned", "Progressing", ""),
            ("Progressing", "Unproven", ""),
            ("Unproven", "Provisioned", ""),
            ("Provisioned", "Held", ""),
            ("Provisioned", "RateLimited", ""),
            ("Provisioned", "DirectoryIncomplete", ""),
            ("Contested", "Contested", ""),
            // An import may be of thousands.
            ("", "Provisioned id adopted", ""),
            ("Progressing created", "Provisioned id created", "Normal:Created"),
            ("ChangePlanned", "Progressing id adopted", "Normal:Adopted"),
            ("Provisioned id", "Contested id", "Warning:Contested"),
            ("Unproven id", "NotAsWritten id", "Warning:NotAsWritten"),
            ("Progressing", "Rejected", "Warning:Rejected"),
            ("Progressing", "Unsupported", "Warning:Unsupported"),
            ("Rejected", "Provisioned", "Normal:Provisioned"),
            // A suspension that nobody sent, and one that was sent: one event, once.
            ("", "Suspended id adopted proven", ""),
            ("Unproven id sent", "Suspended id sent proven", "Normal:Suspended"),
            ("Suspended id sent proven", "Suspended id sent proven", ""),
            (
                "NotAsWritten id sent",
                "Suspended id sent proven",
                "Normal:Suspended",
            ),
        ] {
            let news = news_of_object::<ScimUser>(&user(before), &user(after));
            assert_eq!(reasons(&news), told, "{before} -> {after}");
        }
        let news = news_of_object::<ScimUser>(&user("Unproven id sent"), &user("Suspended id sent proven"));
        assert_eq!(
            news[0].note,
            "The bridge shows no active account of this user. The suspension was asked for at 2026-06-01T12:01:00Z, \
             sent at 2026-06-01T12:02:00Z and proven at 2026-06-01T12:03:00Z."
        );
        let group = |id: Option<&str>| ScimGroupStatus {
            id: id.map(str::to_owned),
            origin: Some(Origin::Created),
            ..ScimGroupStatus::default()
        };
        let news = news_of_object::<ScimGroup>(&group(None), &group(Some("g1")));
        assert_eq!(reasons(&news), "Normal:Created");
    }

    /// `KIND DIGEST [held]`, more with commas; then what was released, and how many are contested.
    fn report(pending: &str, released: &[u32], contested: u64) -> DirectoryReport {
        let pending = pending.split(',').filter(|text| !text.is_empty()).map(|text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let kind = ChangeKind::ALL
                .into_iter()
                .find(|kind| kind.as_str() == words[0])
                .unwrap();
            Pending {
                kind,
                count: 7,
                left: Some(5),
                digest: Digest::parse(&words[1].repeat(32)).unwrap(),
                held: words.contains(&"held"),
            }
        });
        DirectoryReport {
            generation: 1,
            totals: None,
            members_read_by: None,
            snapshot_time: None,
            pending: pending.collect(),
            incomplete: None,
            spent: Vec::new(),
            released: released
                .iter()
                .map(|minute| ReleasedChanges {
                    kind: ChangeKind::Suspension,
                    digest: "ab".to_owned(),
                    count: 7,
                    time: time(*minute),
                })
                .collect(),
            contested,
        }
    }

    #[test]
    fn a_connection_tells_what_waits_for_a_person() {
        use ProvisioningMode::{Manage, Plan};
        for (mode, before, after, told) in [
            (
                Plan,
                report("", &[], 0),
                report("renames 1", &[], 0),
                "Normal:PlanChanged",
            ),
            (
                Plan,
                report("", &[], 0),
                report("suspensions 1 held", &[], 0),
                "Warning:ChangesHeld",
            ),
            (Manage, report("", &[], 0), report("renames 1", &[], 0), ""),
            (Manage, report("renames 1", &[], 0), report("", &[], 0), ""),
            (
                Manage,
                report("suspensions 1", &[], 0),
                report("suspensions 1 held", &[], 0),
                "Warning:ChangesHeld",
            ),
            // Other kinds go on.
            (
                Manage,
                report("suspensions 1 held,creations 2", &[], 0),
                report("suspensions 1 held,creations 3", &[], 0),
                "",
            ),
            (
                Manage,
                report("suspensions 1 held", &[], 0),
                report("suspensions 2 held", &[], 0),
                "Warning:ChangesHeld",
            ),
            (
                Manage,
                report("suspensions 1 held", &[], 0),
                report("", &[], 0),
                "Normal:ChangesNotHeld",
            ),
            (
                Manage,
                report("suspensions 1 held", &[], 0),
                report("suspensions 1", &[4], 0),
                "Normal:ChangesReleased Normal:ChangesNotHeld",
            ),
            (Manage, report("", &[4], 0), report("", &[4], 0), ""),
            (
                Manage,
                report("", &[4], 0),
                report("", &[5], 0),
                "Normal:ChangesReleased",
            ),
            (
                Manage,
                report("", &[], 1),
                report("", &[], 2),
                "Warning:ChangesContested",
            ),
            (Manage, report("", &[], 2), report("", &[], 1), ""),
        ] {
            let news = news_of_directory(Some(&before), &after, mode, "so many");
            assert_eq!(reasons(&news), told, "{before:?} -> {after:?}");
        }
        let news = news_of_directory(None, &report("suspensions 1 held", &[4], 2), Manage, "so many");
        assert_eq!(reasons(&news), "", "after a restart");
        let news = news_of_directory(Some(&report("", &[], 0)), &report("", &[4], 0), Manage, "so many");
        assert_eq!(
            news[0].note,
            "Somebody released 7 suspensions with digest ab. The operator sends them now."
        );
    }
}
