//! What a worker is told when it starts.

use crate::secrets::SecretsConfig;
use crate::tally::Tally;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct WorkerConfig {
    pub database_url: String,
    /// Shown to people; need not be unique.
    pub name: String,
    pub queues: Vec<String>,
    /// Tries in this process at the same time.
    pub slots: usize,
    /// Child processes at the same time.
    pub process_slots: usize,
    /// What a child and all it starts may have in memory; a task may say otherwise.
    pub process_memory_mb: u32,
    /// A worker that was not heard of for so long is lost. It beats three times as often.
    pub lease: Duration,
    /// How long a stopping worker waits for what it runs.
    pub grace: Duration,
    /// Ledgers kept in memory, those of what runs now not counted; each some hundred bytes, more for large DAGs.
    pub remembered_runs: usize,
    /// Where bodies get their connections and variables.
    pub secrets: SecretsConfig,
    /// Its database is thrown away afterwards. Tasks may then work on a lake that is elsewhere, as long as they commit nothing.
    pub is_trial: bool,
    /// Counts what this worker does.
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
