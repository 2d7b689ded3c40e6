//! The bridge front: what a 1Password SCIM Bridge looks like from outside, in front of any SCIM server.
//!
//! The bridge itself is a closed image that needs a 1Password account. Everything that a connection check can
//! see of it is small and known, so this crate plays that part: `/ping`, `/health`, `/metrics`, the SCIM
//! paths, the modes in which they answer differently, and, on demand, everything that goes wrong between a
//! client and a server. The SCIM answers come from a real SCIM server when one is given, else from a minimal
//! built-in list. A front can also answer from its own [`Directory`](directory), which can be read and written.
//!
//! Guarantees:
//!
//! - A [`Front`] listens on loopback and on a free port unless told otherwise.
//! - [`State`] is plain data, and a change holds from the next request (or connection) on.
//! - What was asked is recorded before it is answered; the key is never recorded and never shown.
//! - [`Front::stop`] returns when the port is closed and every connection is gone.
//! - A front that got a [forbidden] write panics at its end.
//!
//! # Faults and modes
//!
//! ```
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use bridge_front::{Fault, Front, Mode};
//!
//! let front = Front::builder().key("a-test-key").start().await?;
//! front.set(|state| state.mode = Mode::GoogleWorkspace);
//! front.set(|state| state.fault("/health", Fault::Silent));
//! println!("{} is trusted by way of {}", front.url(), front.ca_pem().unwrap_or("nothing"));
//! front.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # A directory
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use bridge_front::{Act, Content, Fault, Front, Seed, User, directory::Removal};
//!
//! let front = Front::builder().key("a-test-key").directory(Seed::of(10_000, 20)).start().await?;
//! let id = front.directory().put_user(User::new("ada@example.com", "Ada", "Example"));
//!
//! front.set(|state| state.habits.writes.remove_by_filter = Removal::Everybody);
//! let cut = Fault::Close.after_the_write().once();
//! front.set(|state| state.fault("PATCH /scim/Users", cut));
//!
//! // The client suspends her.
//! let suspended = |change: &bridge_front::Change| change.act == Act::Suspend;
//! let limit = Duration::from_secs(60);
//! let changes = front.directory().wait_for_changes(|changes| changes.iter().any(suspended), limit).await;
//! assert!(changes.is_ok(), "{changes:?}");
//! assert!(front.directory().user(&id).is_some_and(|user| !user.active));
//! # Ok(())
//! # }
//! ```

mod answer;
mod authority;
mod control;
pub mod directory;
mod fault;
mod forbidden;
mod front;
mod health;
mod requests;
mod routes;
mod scim;
mod serve;
mod state;
mod upstream;

pub use authority::{Authority, AuthorityError, Identity, Profile};
pub use control::Control;
pub use directory::{Act, Change, Directory, Group, Habits, Member, Seed, User};
pub use fault::{ConnectionFault, Content, Fault};
pub use forbidden::forbidden;
pub use front::{Builder, Front};
pub use requests::{RequestRecord, Traffic, Unmet};
pub use state::{Flavour, Key, Mode, Source, State};
pub use upstream::{InvalidUpstream, Upstream};
