//! Why a task instance stands where it stands: as Airflow's list of dependencies that are not met, and in orch's own words
//! under `/api/orch/v1`.

use super::task_instances::{Instance, one_instance};
use crate::extract::{Names, Query, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use crate::timestamp::Timestamp;
use axum::Json;
use axum::extract::State;
use orch_core::state::{RunState, TaskState};
use orch_store::StoreResult;
use orch_store::dag::get_dag;
use orch_store::instance::{ledger, tries};
use orch_store::worker::list_workers;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Dependencies {
    dependencies: Vec<Reason>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Reason {
    name: String,
    reason: String,
}

/// What an instance waits for, or why it ended as it did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Why {
    task_id: String,
    map_index: i32,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
    /// One sentence for people.
    summary: String,
    /// What is not met; empty when nothing stands in the way.
    reasons: Vec<Reason>,
    /// Upstreams by state.
    upstream: Vec<Upstream>,
    /// When it goes on, if it waits for a time.
    wake_at: Option<Timestamp>,
    /// Of the last try that failed, the outermost first.
    causes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Upstream {
    task_id: String,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
}

pub(crate) async fn why(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<Why>, Refusal> {
    let path = names.task()?;
    let index = query.whole_numbers("map_index").last().copied().unwrap_or(-1);
    query.finish()?;
    let index = i32::try_from(index).map_err(|_| no_such_instance(&path.run, &path.task_id, -1))?;
    let instance = one_instance(&app, path, index).await?;
    let mut db = app.pages().await?;
    let upstream = upstreams(&app, &mut db, &instance).await?;
    let reasons = reasons(&mut db, &instance, &upstream).await?;
    let row = &instance.row;
    let causes = match row.state {
        TaskState::Failed | TaskState::UpForRetry => {
            let tries = tries(&mut db, instance.run.id, row.task, row.map_index).await?;
            tries.into_iter().rev().find(|one| !one.causes.is_empty()).map(|one| one.causes).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let summary = match row.state {
        TaskState::UpForRetry | TaskState::UpForReschedule | TaskState::Deferred => match row.wake_at {
            Some(at) => format!("it goes on at {}", at.to_rfc3339()),
            None => "it waits for its time".into(),
        },
        TaskState::Failed => causes.join(": "),
        state if state.is_finished() => format!("it is over: {state}"),
        TaskState::Running | TaskState::Restarting => match &row.hostname {
            Some(host) => format!("it runs on {host}"),
            None => "it runs".into(),
        },
        _ => match reasons.first() {
            Some(first) => first.reason.clone(),
            None => "nothing stands in its way".into(),
        },
    };
    Ok(Json(Why {
        task_id: row.task_id.clone(),
        map_index: row.map_index,
        state: Some(row.state).filter(|state| *state != TaskState::None),
        summary,
        reasons,
        upstream,
        wake_at: row.wake_at.map(Timestamp),
        causes,
    }))
}

pub(super) async fn dependencies(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Dependencies> {
    let upstream = upstreams(app, db, instance).await?;
    Ok(Dependencies { dependencies: reasons(db, instance, &upstream).await? })
}

async fn upstreams(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Vec<Upstream>> {
    let Some(ledger) = ledger(db, &mut app.versions.clone(), instance.run.id).await? else { return Ok(Vec::new()) };
    let plan = &ledger.version.plan;
    let up = plan.task(instance.row.task).up.iter().map(|edge| Upstream {
        task_id: plan.task_id(edge.task).into(),
        state: Some(ledger.run.task(edge.task)).filter(|state| *state != TaskState::None),
    });
    Ok(up.collect())
}

/// What is not met, of an instance that does not run and is not over.
async fn reasons(db: &mut PgConnection, instance: &Instance, upstream: &[Upstream]) -> StoreResult<Vec<Reason>> {
    let (row, run) = (&instance.row, &instance.run);
    let mut found = Vec::new();
    let mut say = |name: &str, reason: String| found.push(Reason { name: name.into(), reason });
    if row.state.is_finished() || matches!(row.state, TaskState::Running | TaskState::Restarting) {
        return Ok(found);
    }
    if run.state == RunState::Queued {
        if get_dag(db, &run.dag_id).await?.is_some_and(|dag| dag.is_paused) {
            say("Dag Not Paused", format!("Task's DAG '{}' is paused.", run.dag_id));
        }
        say(
            "Dagrun Running",
            format!("Task instance's dagrun was not in the 'running' state but in the state '{}'.", run.state),
        );
        return Ok(found);
    }
    let planned = instance.version.plan.task(row.task);
    match row.state {
        TaskState::None => {
            let open = upstream.iter().filter(|up| !up.state.is_some_and(TaskState::is_finished));
            let open: Vec<&str> = open.map(|up| up.task_id.as_str()).collect();
            let rule = json!(planned.rule);
            let rule = rule.as_str().unwrap_or_default();
            say(
                "Trigger Rule",
                format!(
                    "Task's trigger rule '{rule}' is not met yet: {} of {} upstream tasks are not over: {}.",
                    open.len(),
                    upstream.len(),
                    if open.is_empty() { "they are just being counted".into() } else { open.join(", ") }
                ),
            );
        }
        TaskState::Scheduled => say("Limit", "It could run but for a limit of its dag or its map.".into()),
        TaskState::UpForRetry => say("Not In Retry Period", "Task is not ready for retry yet.".into()),
        TaskState::UpForReschedule | TaskState::Deferred => {
            say("Ready To Reschedule", "Task is waiting for its next look.".into());
        }
        TaskState::Queued => {
            let workers = list_workers(db).await?;
            let alive = |worker: &&orch_store::worker::WorkerRow| {
                worker.state == "running" && worker.queues.contains(&planned.queue)
            };
            let serving: Vec<_> = workers.iter().filter(alive).collect();
            let able = serving.iter().filter(|worker| worker.versions.contains(&run.version)).count();
            if serving.is_empty() {
                say("Worker", format!("No living worker serves the queue '{}'.", planned.queue));
            } else if able == 0 {
                let number = run.version_number;
                say("Worker", format!("No living worker has version {number} of dag '{}'.", run.dag_id));
            } else if serving.iter().all(|worker| worker.running >= worker.slots) {
                say("Worker", format!("All {} workers of queue '{}' are busy.", serving.len(), planned.queue));
            }
        }
        _ => {}
    }
    Ok(found)
}
