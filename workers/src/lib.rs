//! The worker: takes what is ready, runs it, records how it ended and goes on with what that makes ready.
//!
//! Four parties, no shared locks: the driver (one loop, one hot connection) is the only one that says anything about
//! runs; bodies run as tasks of their own and report to it; the heartbeat has a thread and a connection to itself, so
//! that no busy body can make a live worker look dead; the log shipper writes what bodies say.
#![warn(clippy::cast_possible_truncation)]

mod alerts;
mod body;
mod child;
mod clock;
mod conditions;
mod config;
mod driver;
mod family;
mod folder;
mod heartbeat;
mod host;
mod inputs;
mod job;
mod logs;
pub mod mask;
mod memory;
mod offer;
mod outcome;
pub mod outside;
mod patience;
pub mod program;
mod queues;
mod retire;
pub mod secrets;
pub mod sim;
mod tally;
mod touched;
mod watch;

pub use alerts::{MessengerConfig, Programs, send_alerts, signature};
pub(crate) use async_recursion::async_recursion as boxed;
pub use child::run_attempt;
pub use config::WorkerConfig;
pub use driver::drive_worker;
pub use folder::{BodyOf, FILES_BUNDLE, FileReport, Folder, FolderConfig, of_dashboard, register_folder, watch_folder};
pub use logs::capture_layer;
pub use offer::Offers;
pub use secrets::{Secrets, SecretsConfig, VaultConfig};
pub use tally::Tally;
