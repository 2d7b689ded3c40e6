//! Writes statuses and events for objects of any kind.

pub(crate) mod events;
pub(crate) mod status;
