//! The directory of a bridge: its lists of users and groups, and the requests that change them.
//!
//! Apart from the probe, which has to stay unable to do more than ask whether a bridge works.

pub mod directory;
pub mod lists;
pub mod memory;
pub mod rate;
pub mod write;

mod form;
mod line;
