//! Report: statuses and events of any kind of object.

pub(crate) mod events;
pub(crate) mod status;
