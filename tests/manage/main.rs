//! Mode `Manage` end to end: the real binary on a real API server, before a bridge with a directory of its own.
//!
//! Each test ends with what its bridge has, and with the changes that it received. What must not happen is shown by
//! something that can only come after it. Every bridge of these tests holds the requests that it got to the forms that
//! may be sent.
//!
//! # What users of other programs suffered, and the test that shows that nobody does here
//!
//! `directory::` and the like are the test programs of these names. Stories in which much time passes are told in
//! [`as_time_passes`].
//!
//! | What happened | Test |
//! |---|---|
//! | T1: one removal removed everybody | `proof::members_that_a_bridge_drops_come_back` |
//! | T2, T3: the list was empty, and everybody was deleted | `guards::a_directory_that_lost_many_touches_nobody`; `directory::faults` |
//! | T4: 503 for single users deleted them | `proof::nothing_is_done_before_a_read` |
//! | T5: 503 on one page deleted groups | `guards::a_directory_that_lost_many_touches_nobody` |
//! | T6: random members were removed | `guards::a_directory_that_lost_many_touches_nobody`; `directory::faults` |
//! | T7: the first run deleted what others had made | `members::a_membership_is_additive_or_exact` |
//! | T8: a failed removal ended the run | `people::a_refusal_is_of_one_act_and_is_not_repeated` |
//! | T9: one user stopped all others | `people::a_refusal_is_of_one_act_and_is_not_repeated` |
//! | T10: 409 left groups empty | `unclear::a_taken_name_leads_to_a_list_and_then_to_adoption` |
//! | T11: a new address was a second account | `people::a_name_changes_by_id` |
//! | T12: adoption by the text of an error | `unclear::a_taken_name_leads_to_a_list_and_then_to_adoption` |
//! | T13: 429, and the second try met 409 | `unclear::a_pause_is_kept`, `unclear::an_unclear_answer_leads_to_one_account` |
//! | T14: members are never shown | `members::members_are_read_where_the_bridge_shows_them` |
//! | T15: deleted by somebody else, 404 for ever | `people::who_is_gone_is_not_created_again`; `directory::table` |
//! | T16: ends of pages | `directory::faults`, `bridge::directory` |
//! | T17: additive became exact | `members::a_membership_is_additive_or_exact` |
//! | T18: an addition to a long group dropped others | `proof::members_that_a_bridge_drops_come_back` |
//! | T19: more than a hundred changes in one request | `members::many_members_come_in_parts` |
//! | T20: a namespace hung on a finalizer | `letting_go::a_deleted_namespace_lets_go_of_everybody`: nothing here has one |
//! | T21: a deletion of what was gone failed for ever | Nothing is deleted: `scene::assert_form` |
//! | T22, T23, T24: what was deleted in the cluster was deleted behind it | `letting_go` |
//! | T25: a read missed the write just before | `proof::a_write_that_shows_late_is_waited_for` |
//! | T26: a removed policy left accounts alive | Each plan is of the whole: `limits::a_restart_refills_nothing` |
//! | T27: one request for each member | `members::many_members_come_in_parts` |
//! | T28: requests by users times groups | `provision::cost` |
//! | T29: throttled half-way | `unclear::a_pause_is_kept` |
//! | T30, T31: a suspension did not arrive | `proof::who_answers_with_success_and_does_nothing` |
//! | T32: `"False"` as a text | `scene::assert_form` |
//! | T33: a reactivation was refused | `people::a_refusal_is_of_one_act_and_is_not_repeated` |
//! | T34: names in other case | `people::two_of_one_name_are_left_alone`, `people::a_name_changes_by_id` |
//! | T35: name and address have to agree | The address of a new user is the name: `bridge::writes` |
//! | T36, T43: totals and pages that lie | `directory::faults`, `bridge::directory` |
//! | T37: a cap of five hundred members | `members::many_members_come_in_parts`; there is no cap below the CRD's |
//! | T38: one bad member failed the whole group | `members::one_bad_member_keeps_nobody_out` |
//! | T39: a group of that name existed | `members::a_group_is_taken_over_as_the_object_allows` |
//! | T40: somebody was a member twice | `members::a_new_user_joins_a_new_group`; the CRD takes an entry once |
//! | T41: an edit by hand came back again and again | `guards::what_is_changed_back_twice_is_left_to_the_other_writer` |
//! | T42: a file of state disagreed with the bridge | There is no such file: `unclear::a_crash_makes_no_second_account` |
//! | T44: no licence was left | `people::a_refusal_is_of_one_act_and_is_not_repeated`, `limits` |
//! | T45: no `ServiceProviderConfig`; slow writes of members | Nobody asks for it; `bridge::writes` |
//! | T46: groups within groups vanished | `members::a_membership_is_additive_or_exact` |

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is missing fails the test, with its place"
)]

mod guards;
mod letting_go;
mod limits;
mod members;
mod middle;
mod people;
mod proof;
mod scene;
mod unclear;

/// The stories in which nothing happens for long, all at once. By its name, it begins first.
#[tokio::test]
async fn as_time_passes() {
    tokio::join!(
        proof::who_answers_with_success_and_does_nothing(),
        unclear::an_unclear_answer_leads_to_one_account(),
        unclear::a_conflict_about_nobody_is_a_refusal(),
        letting_go::a_deleted_connection_lets_go_of_everybody(),
        guards::a_connection_that_is_not_proven_sends_nothing(),
        middle::a_mode_that_is_set_back_in_the_middle(),
        middle::a_key_that_is_rotated_in_the_middle(),
        middle::a_key_that_is_refused_in_the_middle(),
        middle::a_connection_that_is_suspended_in_the_middle(),
        proof::a_write_that_shows_late_is_waited_for(),
        unclear::other_unclear_answers(),
        unclear::a_pause_is_kept(),
        limits::an_offboarding_goes_through_while_sixty_creations_are_held(),
    );
}
