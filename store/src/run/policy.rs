//! Overlap policies: decide what happens to a run whose DAG has reached its limit of active runs (`core::overlap`).
//! Decisions are made under the DAG's lock, so concurrent runs are decided one after the other. DAGs without a policy
//! do not use this module.

use super::end::{EndRun, cancel_run, set_run_state};
use super::insert::{Inserted, NewRun, Reached, RunRow, insert};
use super::{set_note, word};
use crate::StoreResult;
use crate::audit::{Deed, record};
use crate::locks::DagLock;
use crate::version::{Version, Versions};
use futures::TryStreamExt as _;
use orch_core::overlap::{ActiveRun, Begin, Keys, begin, keys};
use orch_core::plan::Plan;
use orch_core::transition::RunEnd;
use orch_spec::state::{RunState, RunType};
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// The running runs of a DAG, oldest first.
#[derive(Debug)]
pub(super) struct ActiveRuns {
    runs: Vec<(Uuid, String)>,
    running: Vec<ActiveRun>,
    most: usize,
}

/// Loads the running runs of a DAG. The DAG must be locked.
pub(super) async fn there(
    db: &mut PgConnection,
    plan: &Plan,
    dag_id: &str,
    max_active_runs: i32,
) -> StoreResult<ActiveRuns> {
    let rows = sqlx::query!(
        r#"select r.id, r.run_id, r.run_type::text as "run_type!", d.conf as "conf?"
        from dag_run r left join dag_run_detail d on d.run = r.id where r.dag_id = $1 and r.state = 'running'
        order by r.started_at, r.id"#,
        dag_id
    );
    let mut there = ActiveRuns { runs: Vec::new(), running: Vec::new(), most: max_active_runs.max(0) as usize };
    // Stream the rows and drop each `conf` after it is evaluated, because a `conf` has up to 1 MB.
    let mut rows = rows.fetch(db);
    while let Some(row) = rows.try_next().await? {
        there.begun(plan, (row.id, row.run_id), word(&row.run_type)?, row.conf.as_ref());
    }
    Ok(there)
}

impl ActiveRuns {
    pub(super) fn begun(&mut self, plan: &Plan, run: (Uuid, String), run_type: RunType, conf: Option<&Value>) {
        self.running.push(running(plan, run_type, conf));
        self.runs.push(run);
    }

    /// Returns the policy's decision about a run that would start now.
    pub(super) fn ask(&self, plan: &Plan, run_type: RunType, conf: Option<&Value>) -> Begin {
        begin(&plan.spec, self.most, &self.running, &running(plan, run_type, conf))
    }

    /// Cancels the runs at these indexes to make room for a newer run. Afterwards, the caller sends `Hint::Stop`.
    pub(super) async fn make_way(
        &mut self,
        db: &mut PgConnection,
        dag: &DagLock,
        versions: &mut Versions,
        places: &[usize],
    ) -> StoreResult<()> {
        for &place in places.iter().rev() {
            let (id, run_id) = self.runs.remove(place);
            self.running.remove(place);
            // The run's last outcome had not been applied yet. The run has now finished by itself, so nothing was
            // cancelled.
            if !matches!(cancel_run(db, dag.runs(), versions, id).await?, EndRun::Ended(_)) {
                continue;
            }
            let why = json!({ "because": "a newer run takes its place" });
            tracing::info!(dag.name = dag.dag_id(), run.id = run_id, "a run is cancelled: a newer one takes its place");
            record(db, &deed("cancel_dag_run", dag.dag_id(), &run_id, why)).await?;
        }
        Ok(())
    }
}

fn running(plan: &Plan, run_type: RunType, conf: Option<&Value>) -> ActiveRun {
    let keys: Keys = keys(&plan.spec, conf);
    ActiveRun { keys, is_backfill: run_type == RunType::Backfill }
}

/// Ends a run immediately, with all its tasks skipped, and stores the reason.
pub(super) async fn skip(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    (id, run_id): (Uuid, &str),
    has_note: bool,
) -> StoreResult<()> {
    set_run_state(db, dag.runs(), versions, id, RunEnd::Success).await?;
    if !has_note {
        set_note(db, id, Some("Skipped: as many runs as may run were running.")).await?;
    }
    let why = json!({ "because": "as many runs as may run are running" });
    tracing::info!(dag.name = dag.dag_id(), run.id = run_id, "a run is skipped: as many as may run are running");
    record(db, &deed("skip_dag_run", dag.dag_id(), run_id, why)).await
}

fn deed<'a>(event: &'a str, dag_id: &'a str, run_id: &'a str, why: Value) -> Deed<'a> {
    let (dag_id, run_id) = (Some(dag_id), Some(run_id));
    Deed { actor: "overlap policy", event, dag_id, run_id, extra: Some(why), ..Deed::default() }
}

/// Creates a run of a DAG that has an overlap policy.
pub(super) async fn create(
    db: &mut PgConnection,
    lock: &DagLock,
    versions: &mut Versions,
    version: &Arc<Version>,
    id: Uuid,
    new: &NewRun,
) -> StoreResult<Inserted> {
    let mut tx = db.begin().await?;
    let dag = sqlx::query!(
        r#"select version, is_paused, max_active_runs, now() as "now!" from dag where dag_id = $1 for no key update"#,
        new.dag_id
    );
    let Some(dag) = dag.fetch_optional(&mut *tx).await? else { return Ok(Inserted::NoSuchDag) };
    let later = new.run_after.is_some_and(|at| at > dag.now);
    // No decision is needed yet. `insert` reports that the DAG has a different version. If the run has to wait for
    // another reason, the policy is applied when that wait ends.
    if dag.version != version.id || dag.is_paused || later {
        let inserted = insert(&mut tx, version, id, new, Reached::MayBegin).await?;
        tx.commit().await?;
        return Ok(inserted);
    }
    let plan = &version.plan;
    let mut there = there(&mut tx, plan, &new.dag_id, dag.max_active_runs).await?;
    let inserted = match there.ask(plan, new.run_type, new.conf.as_ref()) {
        Begin::Now => insert(&mut tx, version, id, new, Reached::MayBegin).await?,
        Begin::Wait => insert(&mut tx, version, id, new, Reached::Waits).await?,
        Begin::Cancel(places) => {
            there.make_way(&mut tx, lock, versions, &places).await?;
            match insert(&mut tx, version, id, new, Reached::MayBegin).await? {
                Inserted::Run(run) => Inserted::Run(RunRow { stopping: true, ..run }),
                // The run cannot be created. The caller rolls back, so the other runs are not cancelled.
                other => return Ok(other),
            }
        }
        Begin::Skip => match insert(&mut tx, version, id, new, Reached::Waits).await? {
            Inserted::Run(run) => {
                skip(&mut tx, lock, versions, (id, &run.run_id), new.note.is_some()).await?;
                Inserted::Run(RunRow { state: RunState::Success, ended_at: Some(dag.now), ..run })
            }
            other => other,
        },
    };
    tx.commit().await?;
    Ok(inserted)
}
