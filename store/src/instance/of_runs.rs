//! Instances of many runs at once: two statements, however many runs there are.

use super::{InstanceFilter, InstanceRow, Places, ledgers, made_up};
use crate::version::{Version, Versions};
use crate::{StoreResult, run};
use orch_core::state::TaskState;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// A run's instances beside its structure.
#[derive(Debug, Clone)]
pub struct RunInstances {
    pub run: Uuid,
    pub version: Arc<Version>,
    /// In the order of the DAG.
    pub instances: Vec<InstanceRow>,
}

/// How many instances these runs have by their ledgers: asked before they are read.
pub async fn count_instances(db: &mut PgConnection, versions: &mut Versions, runs: &[Uuid]) -> StoreResult<usize> {
    let ledgers = ledgers(db, versions, runs).await?;
    let any = InstanceFilter::default();
    Ok(ledgers.iter().map(|(_, ledger)| Places::new(ledger, None, &any).count()).sum())
}

/// All instances of these runs, by the runs' ids. The caller has looked how many that are.
pub async fn instances_of_runs(
    db: &mut PgConnection,
    versions: &mut Versions,
    runs: &[Uuid],
) -> StoreResult<Vec<RunInstances>> {
    let ledgers = ledgers(db, versions, runs).await?;
    let rows = sqlx::query_file!("queries/instance/of_runs.sql", runs).fetch_all(db).await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = row.state.as_deref().map_or(Ok(TaskState::None), run::word)?;
        known.insert((row.run, row.task as u16, row.map_index), (row, state));
    }
    let any = InstanceFilter::default();
    let of_run = |(run, ledger): (Uuid, super::Ledger)| {
        let places: Vec<_> = Places::new(&ledger, None, &any).collect();
        let instances = places.into_iter().map(|(task, map_index)| {
            let Some((row, state)) = known.remove(&(run, task, map_index)) else {
                return made_up(&ledger, run, (task, map_index));
            };
            InstanceRow {
                id: row.id,
                task,
                task_id: ledger.version.plan.task_id(task).into(),
                map_index,
                state,
                try_no: row.try_no,
                max_tries: row.max_tries,
                lease_no: row.lease_no,
                lost_no: row.lost_no,
                worker: row.worker,
                hostname: row.hostname,
                pid: row.pid,
                queued_at: row.queued_at,
                started_at: row.started_at,
                ended_at: row.ended_at,
                wake_at: row.wake_at,
            }
        });
        let instances = instances.collect();
        RunInstances { run, version: ledger.version.clone(), instances }
    };
    Ok(ledgers.into_iter().map(of_run).collect())
}
