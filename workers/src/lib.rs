//! The worker: claims ready tasks, runs them, records their outcomes, and continues with the tasks that become ready.
//!
//! Its four parts share no locks. The driver (the main loop, with one database connection) is the only part that
//! changes runs. Task functions run as separate tasks and report to the driver. The heartbeat has its own thread and
//! connection, so that a busy task function cannot make a live worker appear dead. The log shipper writes the logs of
//! task functions.
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
