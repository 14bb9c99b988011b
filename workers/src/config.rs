//! Settings of a worker.

use crate::secrets::SecretsConfig;
use crate::tally::Tally;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct WorkerConfig {
    pub database_url: String,
    /// Display name; does not need to be unique.
    pub name: String,
    pub queues: Vec<String>,
    /// Maximum number of concurrent attempts in this process.
    pub slots: usize,
    /// Maximum number of concurrent child processes.
    pub process_slots: usize,
    /// Memory limit of a child and its descendants in MB, unless the task sets its own.
    pub process_memory_mb: u32,
    /// Heartbeat timeout after which a worker is declared lost. A worker sends three heartbeats in this time.
    pub lease: Duration,
    /// Time that a stopping worker waits for its running attempts.
    pub grace: Duration,
    /// Maximum number of cached ledgers (run states) besides those of running tasks. Each takes a few hundred bytes or
    /// more.
    pub remembered_runs: usize,
    /// Configuration for looking up the connections and variables of task functions.
    pub secrets: SecretsConfig,
    /// True for a trial run, whose database is deleted afterwards. Tasks may then use a lake in another database, as
    /// long as they commit nothing to it.
    pub is_trial: bool,
    pub tally: Tally,
}

impl WorkerConfig {
    pub fn new(database_url: impl Into<String>) -> Self {
        WorkerConfig {
            database_url: database_url.into(),
            name: "worker".into(),
            queues: vec!["default".into()],
            slots: 256,
            process_slots: 16,
            process_memory_mb: 4096,
            lease: Duration::from_secs(15),
            grace: Duration::from_secs(30),
            remembered_runs: 10_000,
            secrets: SecretsConfig::default(),
            is_trial: false,
            tally: Tally::default(),
        }
    }
}
