//! Users and groups of a bridge: from what was declared and what was read to what would be sent.
//!
//! ```text
//!           parse                              plan
//! objects ─────────▶ wishes ──────────────────────────────▶ acts, verdicts, next time
//!                                               ▲
//! pages ──▶ Walk ──▶ Listing ──▶ Snapshot ──▶ Census: is it complete, and who is gone?
//! ```
//!
//! Three laws hold here, and `tests/directory` tries to break them:
//! - Absence is never an instruction: each suspension and removal rests on a value that somebody wrote.
//! - Nothing outside of the scope is written, and no protected user is suspended, renamed or removed.
//! - A mass change waits for a person.
//!
//! Names are data about people. Types that hold a name do not show it in `Debug`.

pub mod act;
pub mod budget;
pub mod census;
pub mod job;
pub mod ledger;
pub mod names;
pub mod order;
pub mod plan;
pub mod render;
pub mod scope;
pub mod snapshot;
pub mod status;
pub mod verdict;
pub mod walk;
pub mod wish;

mod claim;
mod crowd;
