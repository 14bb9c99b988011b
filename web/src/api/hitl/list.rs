//! `GET …/hitlDetails`: lists questions with Airflow's filters, sort orders and pagination. Each instance is listed
//! with the question of the last attempt that asked one.

use super::{HitlPage, HitlView};
use crate::api::dag_runs::find;
use crate::api::list::asked;
use crate::api::task_instances::OfRun;
use crate::extract::{Dags, Query, RunPath, Runs};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::state::TaskState;
use orch_store::approval::{APPROVALS, ApprovalRow, by};
use orch_store::instance::some_instances;
use orch_store::list::{ListPage, Search, Test, Values};
use orch_store::note::notes_of;
use orch_store::run::{self, RUNS, RunDetails};
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

pub(crate) async fn list(State(app): State<App>, runs: Runs, mut query: Query) -> Result<Json<HitlPage>, Refusal> {
    let mut search = asked(&mut query, APPROVALS.columns)?;
    let mut db = app.pages().await?;
    search = match (runs.dags, runs.run_id) {
        (Dags::One(dag_id), Some(run_id)) => {
            let run = find(&mut db, &RunPath { dag_id, run_id }).await?;
            search.and(by::DAG_ID.is(run.dag_id)).and(by::RUN_ID.is(run.run_id))
        }
        (Dags::One(dag_id), None) => search.and(by::DAG_ID.is(crate::api::dags::find(&mut db, &dag_id).await?.dag_id)),
        (Dags::All, run_id) => search.and(run_id.map(|run_id| by::RUN_ID.is(run_id.to_string()))),
    };
    for condition in &mut search.conditions {
        // The instances in this state are those with an open question, and looking up open questions is faster.
        let awaiting = Values::from(TaskState::AwaitingInput.as_str());
        if condition.column.name == by::STATE.name && condition.test == Test::AnyOf(awaiting) {
            *condition = by::OPEN.is_so(true);
        }
    }
    if search.order.is_empty() {
        search = search.by(by::ATTEMPT.ascending());
    }
    let ListPage { rows, total: total_entries } = APPROVALS.find(&mut db, &search.and(by::LAST.holds())).await?;
    Ok(Json(HitlPage { hitl_details: with_instances(&app, &mut db, rows).await?, total_entries }))
}

/// Returns the questions with the instances that ask them, in the same order. The number of statements does not depend
/// on the number of runs.
pub(super) async fn with_instances(
    app: &App,
    db: &mut PgConnection,
    rows: Vec<ApprovalRow>,
) -> Result<Vec<HitlView>, Refusal> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.run).collect::<BTreeSet<_>>().into_iter().collect();
    let search = Search::default().and(run::by::ID.any_of(ids.iter().copied()));
    let runs: HashMap<Uuid, RunDetails> = RUNS.rows(db, &search).await?.into_iter().map(|run| (run.id, run)).collect();
    app.versions.warm(db, &runs.values().map(|run| run.version).collect::<Vec<_>>()).await?;
    let mut asking = Vec::with_capacity(rows.len());
    for row in rows {
        // The run was deleted meanwhile, or its version no longer has the task.
        let Some(run) = runs.get(&row.run) else { continue };
        let version = app.versions.get(db, run.version).await?;
        let Some(task) = version.plan.index_of(&row.task_id) else { continue };
        asking.push(((run.id, task, row.map_index), run, version, row));
    }
    let wanted: Vec<_> = asking.iter().map(|(key, .., row)| (*key, row.task_id.as_str())).collect();
    let mut instances = some_instances(db, &wanted).await?;
    let notes = notes_of(db, &ids).await?;
    let mut views = Vec::with_capacity(asking.len());
    for (key, run, version, row) in asking {
        let Some(instance) = instances.remove(&key) else { continue };
        let task_instance = OfRun { run, plan: &version.plan, notes: &notes }.instance(instance);
        views.push(HitlView { question: row.into(), task_instance });
    }
    Ok(views)
}
