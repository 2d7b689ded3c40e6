//! The bridge front: what a 1Password SCIM Bridge looks like from outside, in front of any SCIM server.
//!
//! The bridge itself is a closed image that needs a 1Password account. Everything that a connection check can
//! see of it is small and known, so this crate plays that part: `/ping`, `/health`, `/metrics`, the SCIM
//! paths, the modes in which they answer differently, and, on demand, everything that goes wrong between a
//! client and a server. The SCIM answers come from a real SCIM server when one is given, else from a minimal
//! built-in list.
//!
//! Guarantees:
//!
//! - A [`Front`] listens on loopback and on a free port unless told otherwise.
//! - [`State`] is plain data, and a change holds from the next request (or connection) on.
//! - What was asked is recorded before it is answered; the key is never recorded and never shown.
//! - [`Front::stop`] returns when the port is closed and every connection is gone.
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

mod answer;
mod authority;
mod control;
mod fault;
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
pub use fault::{ConnectionFault, Content, Fault};
pub use front::{Builder, Front};
pub use requests::{RequestRecord, Traffic, Unmet};
pub use state::{Flavour, Key, Mode, State};
pub use upstream::{InvalidUpstream, Upstream};
