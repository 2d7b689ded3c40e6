//! One line a case: what is there, what is wished, and what comes of it.

use scim_bridge_operator::{
    api::vocabulary::Class,
    domain::directory::{
        budget::{Kind, Spent},
        census::Census,
        ledger::Ledger,
        plan::{Directory, plan},
        render::{Named, Summary, incomplete_message},
        snapshot::Activity,
        verdict::{Field, MemberCounts, Reason, Subject},
        walk::Incomplete,
    },
};

use crate::world::{Bridge, at, census_without, plan_for, policy, released, unlimited, whole, wishes};

const NOW: i64 = 100;

fn users(bridge: &str, objects: &str) -> String {
    let snapshot = Bridge::parse(bridge, "").snapshot();
    let census = census_without("G");
    let wishes = wishes(objects, "");
    whole(&plan_for(&wishes, &snapshot, &census, &policy(), at(NOW)))
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn plans_for_users() {
    for (bridge, wished, expected) in [
        // An account that is there.
        ("A:ada", "ada=A", "| Provisioned"),
        ("A:ada", "ada", "| Provisioned"),
        ("A:ADA@Example.com", "ada", "| Provisioned"),
        ("A:ADA@Example.com", "ada=A", "| Provisioned"),
        ("A:ada.u", "ada=A", "| Unproven"),
        // Suspension is a value.
        ("A:ada", "ada.s=A", "suspend A | ChangePlanned"),
        ("A:ada.u", "ada.s=A", "suspend A | ChangePlanned"),
        ("A:ada.s", "ada.s=A", "| Suspended"),
        ("A:ada.s", "ada=A", "reactivate A | ChangePlanned"),
        ("A:ada.s", "ada=A ada.s", "| Ambiguous Ambiguous"),
        (
            "A:ada.s K:ADA@example.com",
            "ada=A ada.s",
            "| Ambiguous Ambiguous",
        ),
        ("", "ada.s", "| Suspended"),
        ("A:ada", "", "|"),
        // Times: the edge itself is after it.
        ("A:ada", "ada=A<101", "| Provisioned"),
        ("A:ada", "ada=A<100", "suspend A | ChangePlanned"),
        ("A:ada", "ada=A<99", "suspend A | ChangePlanned"),
        ("A:ada.s", "ada=A<99", "| Suspended"),
        ("", "ada<100", "| Suspended"),
        // A new account.
        ("", "ada", "create ada | ChangePlanned"),
        ("A:ada", "ada kim", "create kim | Provisioned ChangePlanned"),
        // Names.
        ("A:ada.g", "ada=A", "rename A given | ChangePlanned"),
        ("A:old", "ada=A", "rename A ada | ChangePlanned"),
        ("A:old.g", "ada=A", "rename A ada given | ChangePlanned"),
        ("A:old.s", "ada.s=A", "rename A ada | ChangePlanned"),
        ("A:old", "ada.s=A", "suspend A, rename A ada | ChangePlanned"),
        // A name that somebody has; the suspension goes on.
        ("A:old K:ada", "ada=A", "| Ambiguous"),
        ("A:old K:ada", "ada.s=A", "suspend A | Ambiguous"),
        ("A:old", "ada=A ada", "| Ambiguous Ambiguous"),
        ("A:old K:old2", "ada=A ADA=K", "| Ambiguous Ambiguous"),
        // Adoption.
        ("A:ada.g", "ada", "| AlreadyExists"),
        ("A:ada.g", "ada.a", "rename A given | ChangePlanned"),
        ("A:ada.g", "ada.n", "| AlreadyExists"),
        ("A:ada", "ada.n", "| AlreadyExists"),
        ("A:ada", "ada.s", "| AlreadyExists"),
        ("A:ada", "ada.sa", "suspend A | ChangePlanned"),
        ("A:ada.s", "ada", "| AlreadyExists"),
        ("A:ada.s", "ada.s", "| Suspended"),
        // Paused: what would be sent is said, and not sent.
        ("A:ada", "ada.sp=A", "| ChangePlanned"),
        ("A:ada", "ada.p=A", "| Provisioned"),
        ("", "ada.p", "| ChangePlanned"),
        // Several answer.
        ("A:ada K:ADA@example.com", "ada", "| Ambiguous"),
        ("A:ada K:ADA@example.com", "ada.s=A", "suspend A | ChangePlanned"),
        ("A:ada", "ada ADA", "| Ambiguous Ambiguous"),
        ("A:ada", "ada.s=A kim=A", "| Ambiguous Ambiguous"),
        ("", "ada ADA", "| Ambiguous Ambiguous"),
        // An id counts more than a name.
        ("A:ada", "ada.s=A ada", "suspend A | Ambiguous ChangePlanned"),
        ("A:ada", "kim=A ada", "rename A kim | Ambiguous ChangePlanned"),
        // A stored id that is not there.
        ("K:kim", "ada=A", "| DirectoryIncomplete"),
        ("K:kim", "ada=G", "| RemoteGone"),
        ("K:ada", "ada.s=G", "| RemoteGone"),
        ("K:kim", "ada=G ada", "| Ambiguous RemoteGone"),
        // Out of the scope.
        ("A:ada@example.org", "ada@example.org", "| OutOfScope"),
        ("A:ada@example.org", "ada.s=A", "| OutOfScope"),
        ("A:ada", "ada@example.org=A", "| OutOfScope"),
        ("", "ada@example.org", "| OutOfScope"),
        ("", "ada@sub.example.com", "| OutOfScope"),
        // Protected, in every spelling.
        ("O:owner", "owner.s=O", "| Protected"),
        ("O:OWNER@EXAMPLE.COM", "owner.s=O", "| Protected"),
        ("O:owner.g", "owner=O", "| Protected"),
        ("O:owner", "ada=O", "| Protected"),
        ("O:owner", "ada.s=O", "| Protected"),
        ("A:ada", "owner=A", "| Protected"),
        ("O:owner", "owner=O", "| Provisioned"),
        ("O:owner", "owner.sa", "| Protected"),
        ("", "owner", "| Protected"),
        ("O:ow\u{200b}ner@example.com", "ada.s=O", "| Protected"),
        ("O:\u{ff4f}wner@example.com", "ada.s=O", "| Protected"),
        // Limits: two suspensions, three creations. Kinds do not hold each other.
        (
            "A:a B:b",
            "a.s=A b.s=B",
            "suspend A, suspend B | ChangePlanned ChangePlanned",
        ),
        (
            "A:a B:b C:c",
            "a.s=A b.s=B c.s=C d",
            "create d | suspend A, suspend B, suspend C | Held Held Held ChangePlanned",
        ),
        (
            "A:a",
            "a.s=A b c d e",
            "suspend A | create b, create c, create d, create e | ChangePlanned Held Held Held Held",
        ),
        // Paused ones are not counted.
        (
            "A:a B:b C:c",
            "a.s=A b.s=B c.sp=C",
            "suspend A, suspend B | ChangePlanned ChangePlanned ChangePlanned",
        ),
        (
            "Z:z.s A:a.s M:old K:kim",
            "b z=Z a=A kim.s=K m=M",
            "suspend K, rename M m, reactivate A, reactivate Z, create b | \
             ChangePlanned ChangePlanned ChangePlanned ChangePlanned ChangePlanned",
        ),
    ] {
        assert_eq!(
            users(bridge, wished),
            expected,
            "bridge `{bridge}`, wishes `{wished}`"
        );
    }
}

fn groups(bridge: &Bridge, users: &str, groups: &str) -> String {
    let snapshot = bridge.snapshot();
    let census = census_without("G");
    let wishes = wishes(users, groups);
    let plan = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW));
    whole(&plan)
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn plans_for_groups() {
    const PEOPLE: &str = "A:ada K:kim S:sue.s O:owner X:out@example.org U:una.u";
    for (has, wished_users, wished, expected) in [
        // A group that is there. Group 9 proves that this bridge shows members.
        ("1:k8s-a[A] 9:x[O]", "", "k8s-a=1[ada](A)", "| Provisioned"),
        ("1:k8s-a[A] 9:x[O]", "", "k8s-a[ada]", "| Provisioned"),
        ("1:K8S-A[A] 9:x[O]", "", "k8s-a=1[ada](A)", "| Provisioned"),
        ("1:k8s-a[A,A] 9:x[O]", "", "k8s-a=1[ADA](A)", "| Provisioned"),
        // By user name, as one server lists members.
        (
            "1:k8s-a[ada@example.com] 9:x[O]",
            "",
            "k8s-a=1[ada](A)",
            "| Provisioned",
        ),
        // A new group begins without members, who follow.
        (
            "9:x[O]",
            "",
            "k8s-a[kim,ada]",
            "create k8s-a, add new k8s-a/A, add new k8s-a/K | ChangePlanned",
        ),
        (
            "1:k8s-b[] 9:x[O]",
            "bo",
            "k8s-a[bo,ada] k8s-b=1[bo,ada]",
            "create bo, create k8s-a, add 1/A, add 1/new bo, add new k8s-a/A, add new k8s-a/new bo | \
             ChangePlanned ChangePlanned ChangePlanned",
        ),
        ("9:x[O]", "", "k8s-a.p[ada]", "| ChangePlanned"),
        ("9:x[O]", "", "k8s-a[ada<100]", "create k8s-a | ChangePlanned"),
        // Whom a new group cannot have is said as for one that is there.
        (
            "9:x[O]",
            "",
            "k8s-a[bo,ada]",
            "create k8s-a, add new k8s-a/A | MemberMissing",
        ),
        ("9:x[O]", "", "k8s-a[sue]", "create k8s-a | MemberMissing"),
        (
            "9:x[O]",
            "",
            "k8s-a[out@example.org]",
            "create k8s-a | OutOfScope",
        ),
        (
            "9:x[O]",
            "bo BO",
            "k8s-a[bo]",
            "create k8s-a | Ambiguous Ambiguous Ambiguous",
        ),
        // Nobody has seen a member yet: an addition shows whether a way exists.
        (
            "1:k8s-b[]",
            "",
            "k8s-a[ada]",
            "create k8s-a, add new k8s-a/A | ChangePlanned",
        ),
        (
            "1:k8s-b[]",
            "",
            "k8s-a.x[ada]",
            "create k8s-a | MembersUnreadable",
        ),
        ("1:k8s-b[]", "", "k8s-a", "create k8s-a | ChangePlanned"),
        // What follows a creation is held with it.
        (
            "1:k8s-b[] 9:x[O]",
            "bo b c d",
            "k8s-b=1[bo,ada]",
            "add 1/A | create b, create bo, create c, create d, add 1/new bo | Held Held Held Held Held",
        ),
        (
            "1:k8s-old[] 9:x[O]",
            "",
            "k8s-a=1",
            "rename 1 k8s-a | ChangePlanned",
        ),
        ("1:k8s-old[] 2:k8s-a[] 9:x[O]", "", "k8s-a=1", "| Ambiguous"),
        // Members join.
        (
            "1:k8s-a[] 9:x[O]",
            "",
            "k8s-a=1[ada,kim]",
            "add 1/A, add 1/K | ChangePlanned",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "",
            "k8s-a=1[ada,kim]",
            "add 1/K | ChangePlanned",
        ),
        ("1:k8s-a 9:x[O]", "", "k8s-a=1[ada]", "add 1/A | ChangePlanned"),
        (
            "1:k8s-a[] 9:x[O]",
            "",
            "k8s-a=1[owner]",
            "add 1/O | ChangePlanned",
        ),
        // Only those who are active, and in the scope.
        ("1:k8s-a[] 9:x[O]", "", "k8s-a=1[sue]", "| MemberMissing"),
        ("1:k8s-a[] 9:x[O]", "", "k8s-a=1[una]", "| MemberMissing"),
        (
            "1:k8s-a[] 9:x[O]",
            "",
            "k8s-a=1[bo,ada]",
            "add 1/A | MemberMissing",
        ),
        ("1:k8s-a[] 9:x[O]", "", "k8s-a=1[out@example.org]", "| OutOfScope"),
        (
            "1:k8s-a[] 9:x[O]",
            "bo",
            "k8s-a=1[bo]",
            "create bo, add 1/new bo | ChangePlanned ChangePlanned",
        ),
        (
            "1:k8s-a[] 9:x[O]",
            "sue=S",
            "k8s-a=1[sue]",
            "reactivate S, add 1/returning S | ChangePlanned ChangePlanned",
        ),
        (
            "1:k8s-a[] 9:x[O]",
            "bo@example.org",
            "k8s-a=1[bo@example.org]",
            "| OutOfScope MemberMissing",
        ),
        // A user by another name than the bridge has still.
        (
            "1:k8s-a[] 9:x[O]",
            "lin=K",
            "k8s-a=1[lin]",
            "rename K lin, add 1/K | ChangePlanned ChangePlanned",
        ),
        (
            "1:k8s-a[K] 9:x[O]",
            "lin=K",
            "k8s-a.x=1[lin](K)",
            "rename K lin | ChangePlanned Provisioned",
        ),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "ada=K",
            "k8s-a.x=1[ada]",
            "| Ambiguous Ambiguous",
        ),
        // A second object for the account takes its place in no list from the one that holds it by id.
        (
            "1:k8s-a[] 9:x[O]",
            "ADA ada=A",
            "k8s-a=1[ada]",
            "add 1/A | Ambiguous Provisioned ChangePlanned",
        ),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "ada=A ADA Ada",
            "k8s-a.x=1[ada]",
            "remove 1/K (not listed) | Ambiguous Ambiguous Provisioned ChangePlanned",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "ada=A ada=K",
            "k8s-a.x=1[ada]",
            "| Provisioned Ambiguous Provisioned",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "lin=A lin=K",
            "k8s-a.x=1[lin]",
            "| Ambiguous Ambiguous Ambiguous",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "ada=A ada=A",
            "k8s-a.x=1[ada]",
            "| Ambiguous Ambiguous Ambiguous",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "ada ADA",
            "k8s-a.x=1[ada]",
            "| Ambiguous Ambiguous Ambiguous",
        ),
        (
            "1:k8s-a[] 9:x[O]",
            "ada=Z ada",
            "k8s-a=1[ada]",
            "| Provisioned DirectoryIncomplete Ambiguous",
        ),
        // Members leave: only ours in an additive group, all in an exact one.
        ("1:k8s-a[A,K] 9:x[O]", "", "k8s-a=1[ada](A)", "| Provisioned"),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "",
            "k8s-a=1[ada](A,K)",
            "remove 1/K (not listed) | ChangePlanned",
        ),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "",
            "k8s-a.x=1[ada](A)",
            "remove 1/K (not listed) | ChangePlanned",
        ),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "",
            "k8s-a.x=1(A)",
            "remove 1/A (not listed), remove 1/K (not listed) | ChangePlanned",
        ),
        // An entry that leads to nobody may be a person who was renamed: nobody leaves for not being listed.
        (
            "1:k8s-a[A,K] 9:x[O]",
            "",
            "k8s-a.x=1[ada,kimberly]",
            "| MemberMissing",
        ),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "",
            "k8s-a=1[ada,kimberly](A,K)",
            "| MemberMissing",
        ),
        // Times.
        ("1:k8s-a[A] 9:x[O]", "", "k8s-a=1[ada<101](A)", "| Provisioned"),
        (
            "1:k8s-a[A] 9:x[O]",
            "",
            "k8s-a=1[ada<100](A)",
            "remove 1/A (expired) | ChangePlanned",
        ),
        // Whose membership is not ours stays in an additive group, and the verdict says so.
        ("1:k8s-a[A] 9:x[O]", "", "k8s-a=1[ada<100]", "| MemberRemains"),
        ("1:k8s-a[A] 9:x[O]", "", "k8s-a[ada<100]", "| AlreadyExists"),
        (
            "1:k8s-a[A] 9:x[O]",
            "",
            "k8s-a=1[ada<100,kim]",
            "add 1/K | MemberRemains",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "",
            "k8s-a.x=1[ada<100]",
            "remove 1/A (expired) | ChangePlanned",
        ),
        (
            "1:k8s-a[A] 9:x[O]",
            "",
            "k8s-a.x=1[ada<100,bo]",
            "remove 1/A (expired) | MemberMissing",
        ),
        ("1:k8s-a[] 9:x[O]", "", "k8s-a=1[ada<100]", "| Provisioned"),
        // Never out of the scope, never the protected.
        ("1:k8s-a[X] 9:x[O]", "", "k8s-a.x=1", "| OutOfScope"),
        ("1:k8s-a[O] 9:x[O]", "", "k8s-a.x=1", "| Protected"),
        (
            "1:k8s-a[O,K] 9:x[O]",
            "",
            "k8s-a.x=1(O)",
            "remove 1/K (not listed) | Protected",
        ),
        ("1:other[] 9:x[O]", "", "other=1[ada]", "| OutOfScope"),
        ("1:other[] 9:x[O]", "", "k8s-a=1[ada]", "| OutOfScope"),
        (
            "1:k8s-protected[A] 9:x[O]",
            "",
            "k8s-protected=1[ada](A)",
            "| Provisioned",
        ),
        (
            "1:k8s-protected[] 9:x[O]",
            "",
            "k8s-protected=1[ada]",
            "| Protected",
        ),
        ("1:k8s-protected[] 9:x[O]", "", "k8s-a=1", "| Protected"),
        ("9:x[O]", "", "K8S-Protected", "| Protected"),
        ("9:x[O]", "", "k8s-PROTECTED", "| Protected"),
        // Suspended users: what we added is withdrawn, and first.
        (
            "1:k8s-a[A,K] 9:x[O]",
            "kim.s=K",
            "k8s-a=1[kim](A,K)",
            "suspend K, remove 1/K (suspended), remove 1/A (not listed) | ChangePlanned ChangePlanned",
        ),
        (
            "1:k8s-a[A,K] 9:x[O]",
            "kim.s=K",
            "k8s-a=1[kim,ada](A)",
            "suspend K | ChangePlanned MemberRemains",
        ),
        (
            "1:k8s-a[S] 9:x[O]",
            "sue.s=S",
            "k8s-a=1[sue](S)",
            "remove 1/S (suspended) | Suspended ChangePlanned",
        ),
        (
            "1:k8s-a[S] 9:x[O]",
            "sue.s=S",
            "k8s-a=1[sue]",
            "| Suspended MemberRemains",
        ),
        (
            "1:k8s-a[S] 9:x[O]",
            "sue.s=S",
            "k8s-a.x=1[sue]",
            "remove 1/S (suspended) | Suspended ChangePlanned",
        ),
        ("1:k8s-a[S] 9:x[O]", "", "k8s-a=1[sue](S)", "| Provisioned"),
        (
            "1:k8s-a[] 9:x[O]",
            "sue.s=S",
            "k8s-a=1[sue]",
            "| Suspended Provisioned",
        ),
        (
            "1:k8s-a[] 9:x[O]",
            "bo.s",
            "k8s-a=1[bo]",
            "| Suspended Provisioned",
        ),
        // Not where the suspension is refused, paused or held.
        (
            "1:k8s-a[K] 9:x[O]",
            "kim.sp=K",
            "k8s-a=1[kim](K)",
            "| ChangePlanned Provisioned",
        ),
        (
            "1:k8s-a[K] 9:x[O]",
            "kim.s",
            "k8s-a=1[kim](K)",
            "| AlreadyExists Provisioned",
        ),
        (
            "1:k8s-a[O] 9:x[O]",
            "owner.s=O",
            "k8s-a=1[owner](O)",
            "| Protected Provisioned",
        ),
        (
            "1:k8s-a[K] 9:x[O]",
            "kim.s=K ada.s=A una.s=U",
            "k8s-a=1[kim](K)",
            "| suspend A, suspend K, suspend U | Held Held Held Held",
        ),
        // Paused groups.
        ("1:k8s-a[K] 9:x[O]", "", "k8s-a.p=1[ada](K)", "| ChangePlanned"),
        // Members that nobody can see. The first addition is a trial, and none of a member whom it may already be.
        (
            "1:k8s-a 2:k8s-b[]",
            "",
            "k8s-a=1[ada,kim]",
            "add 1/A, add 1/K | ChangePlanned",
        ),
        (
            "1:k8s-a[] 2:k8s-b[]",
            "",
            "k8s-a=1[ada]",
            "add 1/A | ChangePlanned",
        ),
        ("1:k8s-a[] 2:k8s-b[]", "", "k8s-a.x=1[ada]", "| MembersUnreadable"),
        (
            "1:k8s-a[] 2:k8s-b[]",
            "",
            "k8s-a=1[ada,kim](A)",
            "add 1/K | MembersUnreadable",
        ),
        ("1:k8s-a[]", "", "k8s-a=1[ada](A)", "| MembersUnreadable"),
        ("1:k8s-a 2:k8s-b[]", "", "k8s-a=1", "| Provisioned"),
        ("1:k8s-a 2:k8s-b[]", "", "k8s-a=1(A)", "| MembersUnreadable"),
        ("1:k8s-a 2:k8s-b[]", "", "k8s-a.x=1", "| MembersUnreadable"),
        ("1:k8s-a 9:x[O]", "", "k8s-a.x=1", "| MembersUnreadable"),
        ("1:k8s-a 9:x[O]", "", "k8s-a=1(A)", "| MembersUnreadable"),
        ("1:k8s-a 9:x[O]", "", "k8s-a.x=1[ada]", "add 1/A | ChangePlanned"),
        // Noted before a crash, and not sent.
        ("1:k8s-a 9:x[O]", "", "k8s-a=1[ada](A)", "add 1/A | ChangePlanned"),
        (
            "1:k8s-a[A,group:2] 9:x[O]",
            "",
            "k8s-a.x=1[ada]",
            "| MembersUnreadable",
        ),
        ("1:k8s-a[A,group:2] 9:x[O]", "", "k8s-a=1[ada]", "| Provisioned"),
        (
            "1:k8s-a[A,gone] 9:x[O]",
            "",
            "k8s-a.x=1[ada]",
            "| MembersUnreadable",
        ),
        // Adoption.
        ("1:k8s-a[K] 9:x[O]", "", "k8s-a[ada]", "| AlreadyExists"),
        ("1:k8s-a[K] 9:x[O]", "", "k8s-a.a[ada]", "add 1/A | ChangePlanned"),
        (
            "1:k8s-a[K] 9:x[O]",
            "",
            "k8s-a.ax[ada]",
            "remove 1/K (not listed), add 1/A | ChangePlanned",
        ),
        ("1:k8s-a[A] 9:x[O]", "", "k8s-a.n[ada]", "| AlreadyExists"),
        ("1:k8s-a[A,K] 9:x[O]", "", "k8s-a.x[ada]", "| AlreadyExists"),
        // Two of one name; ids that are not there.
        ("1:k8s-a[] 2:k8s-A[] 9:x[O]", "", "k8s-a", "| Ambiguous"),
        (
            "1:k8s-a[] 2:k8s-A[] 9:x[O]",
            "",
            "k8s-a=1[ada]",
            "add 1/A | ChangePlanned",
        ),
        ("9:x[O]", "", "k8s-a k8s-A", "| Ambiguous Ambiguous"),
        ("9:x[O]", "", "k8s-a=1", "| DirectoryIncomplete"),
        ("9:x[O]", "", "k8s-a=G", "| RemoteGone"),
        // Limits: three removals.
        (
            "1:k8s-a[A,K,S,U] 9:x[O]",
            "",
            "k8s-a.x=1[owner]",
            "add 1/O | remove 1/A (not listed), remove 1/K (not listed), remove 1/S (not listed), \
             remove 1/U (not listed) | Held",
        ),
    ] {
        let bridge = Bridge::parse(PEOPLE, has);
        assert_eq!(
            groups(&bridge, wished_users, wished),
            expected,
            "groups `{has}`, users `{wished_users}`, wishes `{wished}`"
        );
    }
}

#[test]
fn a_directory_that_is_not_known_in_full_plans_nothing() {
    let wishes = wishes("ada.s=A kim", "k8s-a.x=1");
    for reason in [
        Incomplete::NotRead,
        Incomplete::TotalChanged,
        Incomplete::UsersVanished,
    ] {
        let plan = plan(&wishes, Err(reason), &policy(), &Ledger::default(), at(NOW));
        assert_eq!(
            whole(&plan),
            "| DirectoryIncomplete DirectoryIncomplete DirectoryIncomplete"
        );
        assert_eq!(plan.totals, Err(reason));
        assert_eq!(
            Summary(&plan).to_string(),
            format!("nothing is planned: {reason}")
        );
        assert_eq!(
            incomplete_message(reason),
            format!("The operator does not know this directory in full: {reason}.")
        );
    }
}

#[test]
fn what_a_verdict_says() {
    let snapshot = Bridge::parse("A:ada.g K:kim.s", "1:k8s-a[A,K] 9:x[A]").snapshot();
    let census = Census::default();
    let wishes = wishes("ada kim.s", "k8s-a=1[ada,bo](K)");
    let plan = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW));
    let [ada, kim, group] = &plan.verdicts[..] else {
        panic!("three verdicts");
    };
    assert_eq!(
        (ada.reason, ada.reason.class()),
        (Reason::AlreadyExists, Class::Action)
    );
    assert_eq!(ada.differs, [Field::GivenName], "which fields, not their values");
    assert_eq!((ada.id, ada.adopts), (None, false));
    assert_eq!(ada.subject, Subject::User(Some(Activity::Active)));
    assert_eq!((kim.reason, kim.adopts), (Reason::Suspended, true));
    assert_eq!(kim.id.unwrap().as_str(), "K");
    let counts = MemberCounts {
        wanted: 2,
        present: 1,
        missing: 1,
        extra: 1,
    };
    assert_eq!(group.subject, Subject::Group(Some(counts)));
    assert_eq!(group.reason, Reason::MemberMissing);
    assert_eq!(group.entries, [1]);
    let totals = plan.totals.unwrap();
    assert_eq!((totals.users, totals.suspended, totals.groups), (2, 1, 2));
    assert_eq!((totals.managed, totals.unmanaged_active), (1, 1));
}

/// Which entries of a list the reason is about.
#[test]
fn entries_of_a_verdict() {
    let bridge = Bridge::parse(
        "A:ada K:kim S:sue.s T:twin U:TWIN@example.com X:out@example.org",
        "1:k8s-a[K] 9:x[A]",
    );
    let snapshot = bridge.snapshot();
    let census = Census::default();
    for (group, reason, entries) in [
        ("k8s-a=1[ada,bo,kim,sue]", Reason::MemberMissing, &[1, 3][..]),
        ("k8s-a=1[bo,out@example.org]", Reason::OutOfScope, &[1]),
        ("k8s-a=1[bo,twin]", Reason::Ambiguous, &[1]),
        ("k8s-a=1[ada,kim<50]", Reason::MemberRemains, &[1]),
        ("k8s-a.x=1[kim]", Reason::Provisioned, &[]),
        ("k8s-new[ada,bo]", Reason::MemberMissing, &[1]),
    ] {
        let wishes = wishes("", group);
        let plan = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW));
        let verdict = &plan.verdicts[0];
        assert_eq!(
            (verdict.reason, &verdict.entries[..]),
            (reason, entries),
            "{group}"
        );
    }
    for (user, has_expired) in [("ada=A<100", true), ("ada=A<101", false), ("ada.s=A<99", false)] {
        let wishes = wishes(user, "");
        let plan = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW));
        assert_eq!(plan.verdicts[0].has_expired, has_expired, "{user}");
    }
}

/// Nobody watches over an account that an object was refused.
#[test]
fn who_counts_as_managed() {
    for (bridge, wished, expected) in [
        ("A:ada K:kim", "ada=A kim", (2, 0)),
        ("A:ada K:kim", "ada=A", (1, 1)),
        ("A:ada.s", "", (0, 0)),
        ("A:ada", "ada.s=A", (1, 0)),
        ("A:old K:ada", "ada=A", (1, 1)),
        ("O:owner", "owner.s=O", (1, 0)),
        ("A:ada.g", "ada.a", (1, 0)),
        ("A:ada.g", "ada", (0, 1)),
        ("A:ada", "ada.n", (0, 1)),
        ("A:ada", "ada ADA", (0, 1)),
        ("A:ada", "ada=A ADA", (1, 0)),
        ("A:ada@example.org", "ada@example.org=A", (0, 1)),
    ] {
        let snapshot = Bridge::parse(bridge, "").snapshot();
        let census = Census::default();
        let wishes = wishes(wished, "");
        let totals = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW))
            .totals
            .unwrap();
        assert_eq!(
            (totals.managed, totals.unmanaged_active),
            expected,
            "bridge `{bridge}`, wishes `{wished}`"
        );
    }
}

#[test]
fn a_release_is_of_one_set() {
    let snapshot = Bridge::parse("A:a B:b C:c D:d", "").snapshot();
    let census = Census::default();
    let three = wishes("a.s=A b.s=B c.s=C", "");
    let held = plan_for(&three, &snapshot, &census, &policy(), at(NOW));
    let digest = held.pending[0].digest;
    assert!(held.acts.is_empty() && held.pending[0].held);
    let sent = plan_for(&three, &snapshot, &census, &released(digest), at(NOW));
    assert_eq!((sent.acts.len(), sent.pending[0].held), (3, false));
    // Another set, of as many, and of one more.
    for other in ["a.s=A b.s=B d.s=D", "a.s=A b.s=B c.s=C d.s=D"] {
        let wishes = wishes(other, "");
        let plan = plan_for(&wishes, &snapshot, &census, &released(digest), at(NOW));
        assert!(plan.acts.is_empty(), "{other}");
    }
    // The same set of objects that were created again.
    let again = wishes("a.sa=A b.sa=B c.sa=C", "");
    assert_eq!(
        plan_for(&again, &snapshot, &census, &released(digest), at(NOW))
            .acts
            .len(),
        3
    );
}

#[test]
fn what_was_sent_counts_until_an_hour_has_passed() {
    let snapshot = Bridge::parse("A:a B:b", "").snapshot();
    let census = Census::default();
    let wishes = wishes("a.s=A b.s=B<9000", "");
    let mut spent = Spent::default();
    spent.record(Kind::Suspension, at(60), 1);
    for (now, sent, next) in [(100, 0, Some(3900)), (3899, 0, Some(3900)), (3900, 2, None)] {
        let directory = Directory {
            snapshot: &snapshot,
            census: &census,
        };
        let plan = plan(
            &wishes,
            Ok(directory),
            &policy(),
            &Ledger::new(spent.clone(), at(now)),
            at(now),
        );
        assert_eq!(plan.acts.len(), sent, "{now}");
        assert_eq!(plan.next, next.map(at), "{now}");
        assert_eq!(plan.pending[0].left, Some(if sent == 0 { 1 } else { 2 }));
    }
}

#[test]
fn the_next_time_is_the_first_at_which_the_clock_changes_something() {
    let snapshot = Bridge::parse("A:ada", "").snapshot();
    let census = Census::default();
    for (users, groups, next) in [
        ("ada=A", "", None),
        ("ada=A<150 kim<120", "k8s-a[ada<110]", Some(110)),
        ("ada=A<150", "k8s-a[ada<100]", Some(150)),
        ("ada.s=A<150", "", None),
        ("ada.p=A<150", "k8s-a.p[ada<160]", Some(150)),
    ] {
        let wishes = wishes(users, groups);
        let plan = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW));
        assert_eq!(plan.next, next.map(at), "{users} {groups}");
    }
}

#[test]
fn text_for_everybody_and_text_with_names() {
    let bridge = Bridge::parse(
        "A:canary-a B:canary-b C:canary-c D:ev\u{202e}il\u{1b}[2J@example.com",
        "1:k8s-canary[B] 9:x[A]",
    );
    let snapshot = bridge.snapshot();
    let census = Census::default();
    let wishes = wishes(
        "canary-a.s=A canary-b.s=B canary-c.s=C canary-new canary-d=D",
        "k8s-canary=1[canary-a,canary-new](B) k8s-canary-new[canary-new]",
    );
    let plan = plan_for(&wishes, &snapshot, &census, &policy(), at(NOW));
    let digest = plan.pending[0].digest;
    let summary = Summary(&plan).to_string();
    assert_eq!(
        summary,
        format!(
            "3 suspensions held (2 allowed now, digest {digest}), 1 removal, 1 rename, 2 creations, 2 additions"
        )
    );
    let named = Named(&plan).to_string();
    assert_eq!(
        named,
        format!(
            "remove \"canary-b@example.com\" from \"k8s-canary\" (not listed)\n\
             rename \"ev\\u{{202e}}il\\u{{1b}}[2J@example.com\": userName \"canary-d@example.com\"\n\
             create \"canary-new@example.com\"\n\
             create group \"k8s-canary-new\"\n\
             add \"canary-new@example.com\" (after its creation) to \"k8s-canary\"\n\
             add \"canary-new@example.com\" (after its creation) to \"k8s-canary-new\" (after its creation)\n\
             held: suspend \"canary-a@example.com\"\n\
             held: suspend \"canary-b@example.com\"\n\
             held: suspend \"canary-c@example.com\"\n\
             {summary}\n"
        )
    );
    let nothing = crate::world::wishes("", "");
    let plan_of_nothing = plan_for(&nothing, &snapshot, &census, &unlimited(), at(NOW));
    assert_eq!(Summary(&plan_of_nothing).to_string(), "no changes");
    // The uids of this test are tokens with names: real ones are not.
    let debug = format!(
        "{:?} {:?} {:?}",
        plan.acts[0].change, wishes.users[0].user_name, wishes.groups[0].members
    );
    for text in [&summary, &debug] {
        assert!(!text.contains("canary"), "{text}");
    }
}
