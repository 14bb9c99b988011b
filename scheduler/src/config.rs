//! Settings of a scheduler.

use crate::Loops;
use orch_store::archive::ArchiveDoor;
use orch_store::partition::Retention;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    pub database_url: String,
    /// Poll interval of the lookout if no hint arrives and nothing is due earlier. Each poll also serves as the
    /// heartbeat.
    pub look_every: Duration,
    /// Time that a worker has to fold an outcome that it recorded (apply it to the state of its run). Afterwards, a
    /// scheduler folds it.
    pub fold_after: Duration,
    /// Time after which a DAG that no worker offers is marked stale. Runs of a version that no worker offers for this
    /// long move to the newest version.
    pub stale_after: Duration,
    /// Queueing time after which a claimable attempt causes a warning.
    pub queued_too_long: Duration,
    pub retention: Retention,
    /// Archive for expired data. Without an archive, expired data is deleted.
    pub archive: ArchiveDoor,
    /// Interval of maintenance on which no task depends.
    pub upkeep_every: Duration,
    /// Time after which a loop that is still busy with the same round is considered stuck.
    pub stuck_after: Duration,
    /// Maximum time for the loops to finish their rounds when the scheduler stops.
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
