//! Settings of a scheduler.

use crate::Loops;
use orch_store::archive::ArchiveDoor;
use orch_store::partition::Retention;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    pub database_url: String,
    /// Poll interval of the lookout if no hint arrives and nothing is due earlier. Each poll is also the heartbeat.
    pub look_every: Duration,
    /// Time during which a recorded outcome is left to its worker to fold (apply to the state of its run).
    pub fold_after: Duration,
    /// A DAG that no worker has offered for this long is stale. Runs of a version that no worker has offered for this
    /// long move to the newest version.
    pub stale_after: Duration,
    /// Time in the queue after which a claimable attempt causes a warning.
    pub queued_too_long: Duration,
    pub retention: Retention,
    /// Archive for expired data. Without one, expired data is deleted.
    pub archive: ArchiveDoor,
    /// Interval of maintenance that no task waits for.
    pub upkeep_every: Duration,
    /// A loop that is busy with one round for longer than this is stuck.
    pub stuck_after: Duration,
    /// Time for the loops to finish their rounds after a stop.
    pub farewell: Duration,
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
