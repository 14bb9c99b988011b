//! A private Postgres: finds the installed server binaries, creates a cluster in a data folder, starts it in
//! milliseconds, keeps it running, and stops it with its owner.
//!
//! `orch standalone` opens a [`Cluster`]; tests use the lower-level parts ([`Home`], [`Postmaster`]). Invariant: one
//! owner per data folder (a locked file), one postmaster per owner. If a process dies at any point, the next `open`
//! repairs the folder. All functions block: call them outside an async runtime or from `spawn_blocking`.

mod account;
mod cluster;
mod error;
mod home;
mod initialize;
mod installation;
mod paths;
mod postmaster;
mod settings;
mod watchdog;

pub use cluster::{Cluster, own};
pub use error::ClusterError;
pub use home::Home;
pub use installation::client_program;
pub use paths::default_data_dir;
pub use postmaster::Postmaster;
pub use settings::Settings;
pub use watchdog::Watchdog;
