//! Reads the instances of many runs, in one or two statements.

use super::{InstanceFilter, InstanceRow, Places, ledgers, made_up};
use crate::{
    StoreResult, boxed, run,
    version::{Version, Versions},
};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_spec::state::TaskState;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// The instances of a run, with the run's DAG version.
#[derive(Debug, Clone)]
pub struct RunInstances {
    pub run: Uuid,
    pub version: Arc<Version>,
    /// All instances, in DAG order.
    pub instances: Vec<InstanceRow>,
}

struct Columns {
    run: Uuid,
    task: i16,
    map_index: i32,
    id: Uuid,
    state: Option<String>,
    try_no: i16,
    max_tries: i16,
    lease_no: i32,
    lost_no: i16,
    worker: Option<i32>,
    hostname: Option<String>,
    pid: Option<i32>,
    queued_at: Option<DateTime<Utc>>,
    started_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    wake_at: Option<DateTime<Utc>>,
}

/// Identifies an instance by its run, the index of its task in the run's DAG version, and its map index.
pub type InstanceKey = (Uuid, TaskIdx, i32);

impl Columns {
    fn key(&self) -> InstanceKey {
        (self.run, self.task as TaskIdx, self.map_index)
    }

    fn row(self, task_id: &str) -> StoreResult<InstanceRow> {
        Ok(InstanceRow {
            id: self.id,
            task: self.task as TaskIdx,
            task_id: task_id.into(),
            map_index: self.map_index,
            state: self.state.as_deref().map_or(Ok(TaskState::None), run::word)?,
            try_no: self.try_no,
            max_tries: self.max_tries,
            lease_no: self.lease_no,
            lost_no: self.lost_no,
            worker: self.worker,
            hostname: self.hostname,
            pid: self.pid,
            queued_at: self.queued_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            wake_at: self.wake_at,
        })
    }
}

/// Returns these instances, which may belong to different runs. Instances that do not exist are left out. The caller
/// passes the task id of each instance.
#[boxed]
pub async fn some_instances(
    db: &mut PgConnection,
    wanted: &[(InstanceKey, &str)],
) -> StoreResult<HashMap<InstanceKey, InstanceRow>> {
    let rows = sqlx::query_file_as!(
        Columns,
        "queries/instance/some.sql",
        &wanted.iter().map(|((run, ..), _)| *run).collect::<Vec<_>>(),
        &wanted.iter().map(|((_, task, _), _)| *task as i16).collect::<Vec<_>>(),
        &wanted.iter().map(|((.., index), _)| *index).collect::<Vec<_>>()
    );
    let names: HashMap<InstanceKey, &str> = wanted.iter().copied().collect();
    let row = |row: Columns| {
        let key = row.key();
        Ok((key, row.row(names.get(&key).copied().unwrap_or_default())?))
    };
    rows.fetch_all(db).await?.into_iter().map(row).collect()
}

/// Returns the number of instances of these runs, according to their ledgers. Call it before `instances_of_runs`, to
/// limit that number.
#[boxed]
pub async fn count_instances(db: &mut PgConnection, versions: &mut Versions, runs: &[Uuid]) -> StoreResult<usize> {
    let ledgers = ledgers(db, versions, runs).await?;
    let any = InstanceFilter::default();
    Ok(ledgers.iter().map(|(_, ledger)| Places::new(ledger, None, &any).count()).sum())
}

/// Returns all instances of these runs, sorted by run id. The caller must have limited their number.
#[boxed]
pub async fn instances_of_runs(
    db: &mut PgConnection,
    versions: &mut Versions,
    runs: &[Uuid],
) -> StoreResult<Vec<RunInstances>> {
    let ledgers = ledgers(db, versions, runs).await?;
    let rows = sqlx::query_file_as!(Columns, "queries/instance/of_runs.sql", runs).fetch_all(db).await?;
    let mut known: HashMap<InstanceKey, Columns> = rows.into_iter().map(|row| (row.key(), row)).collect();
    let any = InstanceFilter::default();
    let of_run = |(run, ledger): (Uuid, super::Ledger)| {
        let places: Vec<_> = Places::new(&ledger, None, &any).collect();
        let instances = places.into_iter().map(|(task, map_index)| match known.remove(&(run, task, map_index)) {
            Some(row) => row.row(ledger.version.plan.task_id(task)),
            None => Ok(made_up(&ledger, run, (task, map_index))),
        });
        let instances = instances.collect::<StoreResult<_>>()?;
        Ok(RunInstances { run, version: ledger.version.clone(), instances })
    };
    ledgers.into_iter().map(of_run).collect()
}
