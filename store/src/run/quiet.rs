//! Brings a run to rest, so that its instances cannot be claimed, woken or finished until the transaction ends.
//!
//! Claims, wake-ups and recorded outcomes do not take the run's lock, so this works in rounds. Each round deletes the
//! run's rows from the queue tables and locks the instances that have started but not finished. If a round finds
//! nothing to delete and nothing new to lock, no claim or wake-up was in progress: one in progress would still show its
//! old row, and a completed one would show its new row.
//!
//! Cleared instances that wait have a row without a state, which is not locked: such an instance can start only from
//! its row in a queue table. A run may have a million of them.

use crate::{StoreError, StoreResult, locks::RunLock};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Maximum number of rounds. Only transactions that began before the previous round can make another round necessary.
const MOST_ROUNDS: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// Attempts that were waiting in a queue table. Their rows have been deleted.
    pub waited: Vec<Waited>,
    /// Instances that have started but not finished. Their rows are locked.
    pub open: Vec<OpenInstance>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueuePlace {
    Ready,
    Waiting,
    Held,
}

#[derive(Debug, Clone)]
pub(super) struct Waited {
    pub place: QueuePlace,
    pub task: TaskIdx,
    pub map_index: i32,
    pub attempt: Uuid,
    pub rev_ready: Option<i32>,
    pub try_no: i16,
    pub max_tries: i16,
    pub lease_no: i32,
    pub lost_no: i16,
    pub state: Option<String>,
    pub wake_at: Option<DateTime<Utc>>,
    pub queued_at: Option<DateTime<Utc>>,
    /// Wait of a deferred attempt: a JSON object with the columns of its row.
    pub wait: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenInstance {
    pub task: i16,
    pub map_index: i32,
    pub attempt: Uuid,
    pub worker: Option<i32>,
    pub running: bool,
}

/// Locks all started, unfinished instances of a locked run, and deletes the run's rows from the queue tables.
pub(super) async fn quiet(db: &mut PgConnection, lock: &RunLock) -> StoreResult<Quiet> {
    let mut quiet = Quiet::default();
    for round in 0..MOST_ROUNDS {
        let seen = take_waiting(db, lock.run(), &mut quiet.waited).await?;
        let open = lock_open(db, lock).await?;
        let same = round > 0 && open == quiet.open;
        quiet.open = open;
        if seen == 0 && same {
            return Ok(quiet);
        }
    }
    Err(StoreError::TryAgain(sqlx::Error::RowNotFound))
}

async fn take_waiting(db: &mut PgConnection, run: Uuid, waited: &mut Vec<Waited>) -> StoreResult<i64> {
    let rows = sqlx::query_file!("queries/run/quiet.sql", run).fetch_all(db).await?;
    let seen = rows.first().map_or(0, |row| row.seen);
    for row in rows {
        let (Some(place), Some(task), Some(map_index), Some(attempt)) =
            (row.place.as_deref(), row.task, row.map_index, row.attempt)
        else {
            continue;
        };
        waited.push(Waited {
            place: match place {
                "queued" => QueuePlace::Ready,
                "waiting" => QueuePlace::Waiting,
                _ => QueuePlace::Held,
            },
            task: task as TaskIdx,
            map_index,
            attempt,
            rev_ready: row.rev_ready,
            try_no: row.try_no.unwrap_or_default(),
            max_tries: row.max_tries.unwrap_or_default(),
            lease_no: row.lease_no.unwrap_or_default(),
            lost_no: row.lost_no.unwrap_or_default(),
            state: row.state,
            wake_at: row.wake_at,
            queued_at: row.queued_at,
            wait: row.wait,
        });
    }
    Ok(seen)
}

async fn lock_open(db: &mut PgConnection, lock: &RunLock) -> StoreResult<Vec<OpenInstance>> {
    let rows = sqlx::query_as!(
        OpenInstance,
        r#"select task, map_index, attempt, worker, state in ('running', 'restarting') as "running!"
        from task_instance where run = $1 and state not in ('success', 'failed', 'skipped', 'upstream_failed', 'removed')
        order by task, map_index for update"#,
        lock.run()
    );
    Ok(rows.fetch_all(db).await?)
}
