//! The life of one directory in mode `Manage`: the operator's own decisions in a modelled world.
//!
//! What the operator decides, it decides here by its own code: plan, ledger, orders, census, snapshot and statuses. What is
//! around that code is modelled: the bridge and its habits, somebody else who writes to it, objects that are edited,
//! deleted and created anew, releases, the clock, and crashes between any two steps. A crash loses everything but statuses.
//!
//! - `bridge`: accounts and groups, how writes are answered, and when reads show them
//! - `cluster`: objects and their statuses
//! - `world`: the steps, and the way from a read to an order and back
//! - `law`: what must hold; `judge`: the notes by which that is judged
//! - `exhaustive`: every sequence of a small alphabet; `random`: long lives; `known`: lives that broke a law once

mod bridge;
mod cluster;
mod exhaustive;
mod judge;
mod known;
mod law;
mod random;
mod world;
