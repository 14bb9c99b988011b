//! The reply to a worker step: runs whose ledgers advanced, recorded outcomes, claimed instances, and the runs of the
//! claimed instances.

use super::Lease;
use crate::{StoreError, StoreResult};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_spec::state::{RunState, RunType};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Default)]
pub struct Reply {
    /// Ids of the runs whose ledgers (stored states) were advanced by the step.
    pub moved: Vec<Uuid>,
    /// Instances whose outcomes were recorded. Filled only in `Mode::Record`.
    pub accepted: Vec<(Uuid, TaskIdx, i32)>,
    pub claimed: Vec<Claimed>,
    /// Current states of the runs to which the claimed instances belong.
    pub runs: Vec<KnownRun>,
    /// Runs of claimed instances whose stored state cannot be read, each with an error message.
    pub unreadable: Vec<(Uuid, String)>,
    /// Priority of the most urgent waiting attempt. `None` if no attempt waits or the step did not request it.
    pub most_urgent: Option<i32>,
    /// True if the statement sent `Hint::Recorded`.
    pub hinted: bool,
}

/// An instance that this worker has claimed in the step.
#[derive(Debug, Clone, Copy)]
pub struct Claimed {
    pub lease: Lease,
    pub version: i32,
    pub try_no: i16,
    pub max_tries: i16,
    pub lost_no: i16,
}

/// State of a run in the cache of a worker.
#[derive(Debug, Clone)]
pub struct KnownRun {
    pub run: Uuid,
    pub rev: i32,
    pub version: i32,
    pub clear_number: i16,
    /// Version of the storage format of `ledger`.
    pub format: i16,
    pub ledger: Run,
    pub facts: Arc<RunFacts>,
}

/// Fields of a run that never change and that its tasks may read.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub dag_id: String,
    pub run_id: String,
    pub run_type: RunType,
    /// Run configuration as JSON text.
    pub conf: Option<String>,
    pub logical_date: Option<DateTime<Utc>>,
    pub interval_start: Option<DateTime<Utc>>,
    pub interval_end: Option<DateTime<Utc>>,
    pub run_after: DateTime<Utc>,
    pub partition_key: Option<String>,
}

pub(super) fn read(rows: &[PgRow]) -> StoreResult<Reply> {
    let mut reply = Reply::default();
    for row in rows {
        match row.try_get::<i16, _>(0)? {
            0 => reply.moved.push(row.try_get(1)?),
            1 => reply.claimed.push(claimed(row)?),
            2 => match run_of_row(row) {
                Ok(known) => reply.runs.push(known),
                Err(error) => reply.unreadable.push((row.try_get(1)?, error.in_full())),
            },
            3 => reply.accepted.push((row.try_get(1)?, place(row.try_get(4)?), row.try_get(3)?)),
            4 => reply.most_urgent = row.try_get(3)?,
            5 => reply.hinted = true,
            _ => {}
        }
    }
    Ok(reply)
}

fn claimed(row: &PgRow) -> StoreResult<Claimed> {
    let number = |at: usize| row.try_get::<i32, _>(at);
    Ok(Claimed {
        lease: Lease {
            run: row.try_get(1)?,
            attempt: row.try_get(2)?,
            map_index: number(3)?,
            task: place(number(4)?),
            lease_no: number(8)?,
        },
        version: number(5)?,
        try_no: small(number(6)?),
        max_tries: small(number(7)?),
        lost_no: small(number(9)?),
    })
}

/// Converts a number to `i16`. The statement returns all numbers as `integer`, even those of a narrower type.
fn small(number: i32) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

fn place(task: i32) -> TaskIdx {
    TaskIdx::try_from(task).unwrap_or(TaskIdx::MAX)
}

fn run_of_row(row: &PgRow) -> StoreResult<KnownRun> {
    let run_type: String = row.try_get(14)?;
    Ok(KnownRun {
        run: row.try_get(1)?,
        rev: row.try_get(3)?,
        version: row.try_get(4)?,
        clear_number: small(row.try_get(5)?),
        format: small(row.try_get(6)?),
        // Only instances of running runs can be claimed, so the state is known.
        ledger: Run { state: RunState::Running, ledger: row.try_get(10)?, counters: row.try_get(11)? },
        facts: Arc::new(RunFacts {
            dag_id: row.try_get(12)?,
            run_id: row.try_get(13)?,
            run_type: run_type.parse().map_err(|e| StoreError::corrupt(format!("run type: {e}")))?,
            conf: row.try_get(15)?,
            logical_date: row.try_get(16)?,
            interval_start: row.try_get(17)?,
            interval_end: row.try_get(18)?,
            run_after: row.try_get(19)?,
            partition_key: row.try_get(20)?,
        }),
    })
}
