//! What a scheduler is told.

use crate::Loops;
use orch_store::archive::ArchiveDoor;
use orch_store::partition::Retention;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    pub database_url: String,
    /// Without a hint, and with nothing due sooner, it looks so often. It is also its heartbeat.
    pub look_every: Duration,
    /// Outcomes are left to the worker that recorded them so long.
    pub fold_after: Duration,
    /// What no worker has offered for so long is stale, and its runs are moved.
    pub stale_after: Duration,
    /// A claimable try that waits longer is worth a warning.
    pub queued_too_long: Duration,
    pub retention: Retention,
    /// Where goes what was kept so long; without one it is dropped.
    pub archive: ArchiveDoor,
    /// Upkeep of what nobody waits for.
    pub upkeep_every: Duration,
    /// A loop that is busy so long without coming round is stuck.
    pub stuck_after: Duration,
    /// For what the loops are at when they are told to stop.
    pub farewell: Duration,
    /// The state of its loops, for metrics.
    pub loops: Loops,
}

impl SchedulerConfig {
    pub fn new(database_url: impl Into<String>) -> SchedulerConfig {
        SchedulerConfig {
            database_url: database_url.into(),
            look_every: Duration::from_secs(10),
            fold_after: Duration::from_millis(500),
            stale_after: Duration::from_mins(1),
            queued_too_long: Duration::from_mins(10),
            retention: Retention::default(),
            archive: ArchiveDoor::default(),
            upkeep_every: Duration::from_mins(1),
            stuck_after: Duration::from_secs(30),
            farewell: Duration::from_secs(5),
            loops: Loops::default(),
        }
    }
}
