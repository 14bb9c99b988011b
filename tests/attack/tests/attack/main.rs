//! Attacks on a running installation: the real binary with its bundle, over real HTTP and through the folder of DAG
//! files.
//!
//! A new route needs a line in `rights.txt`, and a new route of the catalog needs an attack in `catalog.rs`; the tests
//! fail until both exist. Attacks by operators on a single server are in `tests/operators`.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod anonymous;
mod catalog;
mod client;
mod hostile;
mod installation;
mod maps;
mod memory;
mod params;
mod rights;
