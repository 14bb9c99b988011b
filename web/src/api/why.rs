//! Why a task instance is in its state: unmet dependencies in Airflow's format, and more details under `/api/orch/v1`.

use super::task_instances::{Instance, named};
use crate::extract::{Names, Query};
use crate::pages::run::failure::{Beyond, in_words};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_store::StoreResult;
use orch_store::instance::{first_element_failure, ledger, tries};
use orch_store::why::{BlockingReason, Holder, why as why_not};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// Maximum number of failed upstream tasks that are listed for a task that did not run.
const MAX_UPSTREAMS: usize = 20;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Dependencies {
    dependencies: Vec<Unmet>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Unmet {
    name: &'static str,
    reason: String,
}

impl From<&BlockingReason> for Unmet {
    fn from(why: &BlockingReason) -> Self {
        Unmet { name: why.reason.name(), reason: why.reason.words() }
    }
}

/// A reason with all there is to know of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Reason {
    name: &'static str,
    reason: String,
    /// When it passes by itself.
    again_at: Option<Timestamp>,
    /// Who is in the way: those who hold the slots it waits for.
    holders: Vec<HolderView>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct HolderView {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    slots: i32,
    since: Timestamp,
}

impl From<Holder> for HolderView {
    fn from(holder: Holder) -> Self {
        HolderView {
            dag_id: holder.dag_id,
            dag_run_id: holder.run_id,
            task_id: holder.task_id,
            map_index: holder.map_index,
            slots: holder.slots,
            since: Timestamp(holder.since),
        }
    }
}

impl From<BlockingReason> for Reason {
    fn from(why: BlockingReason) -> Self {
        Reason {
            name: why.reason.name(),
            reason: why.reason.words(),
            again_at: why.reason.again_at().map(Timestamp),
            holders: why.holders.into_iter().map(HolderView::from).collect(),
        }
    }
}

/// What an instance waits for, or why it ended as it did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WhyView {
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
    /// Of the last try, if it failed, the outermost first.
    causes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Upstream {
    task_id: String,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
}

pub(crate) async fn why(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<WhyView>, Refusal> {
    let instance = named(&app, &names, &mut query).await?;
    let mut db = app.pages().await?;
    let upstream = upstreams(&app, &mut db, &instance).await?;
    let reasons: Vec<Reason> = reasons(&app, &mut db, &instance).await?.into_iter().map(Reason::from).collect();
    let row = &instance.row;
    let tries = match row.state {
        TaskState::Failed | TaskState::UpForRetry => tries(&mut db, instance.run.id, row.task, row.map_index).await?,
        _ => Vec::new(),
    };
    let beyond = Beyond::of(&mut db, &instance.run, row, &tries).await?;
    let of_map = beyond.element.filter(|failed| failed.map_index < 0).map(|failed| failed.causes);
    let causes = tries.into_iter().next_back().map(|last| last.causes).or(of_map).unwrap_or_default();
    let summary = match row.state {
        TaskState::UpForRetry | TaskState::UpForReschedule => match row.wake_at {
            Some(at) => format!("it goes on at {}", at.to_rfc3339()),
            None => "it waits for its time".into(),
        },
        TaskState::Failed => beyond.ending.unwrap_or_else(|| in_words(&causes)),
        TaskState::UpstreamFailed => match failed_upstreams(&app, &mut db, &instance).await?.as_slice() {
            [] => format!("it is over: {}", row.state),
            failed => failed.join("; "),
        },
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
    Ok(Json(WhyView {
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
    let found = reasons(app, db, instance).await?;
    Ok(Dependencies { dependencies: found.iter().map(Unmet::from).collect() })
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

/// Returns a line for each failed task because of which this instance did not run: ``task `load` failed: disk full``.
/// At most `MAX_UPSTREAMS` lines.
async fn failed_upstreams(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Vec<String>> {
    let run = instance.run.id;
    let Some(ledger) = ledger(db, &mut app.versions.clone(), run).await? else { return Ok(Vec::new()) };
    let plan = &ledger.version.plan;
    let mut lines = Vec::new();
    for task in origins(instance.row.task, |task| ledger.run.task(task), |task| before(plan, task)) {
        let last = tries(db, run, task, -1).await?.pop().map(|last| last.causes);
        let causes = match last.filter(|causes| !causes.is_empty()) {
            None => first_element_failure(db, run, task).await?.map(|failed| failed.causes).unwrap_or_default(),
            Some(causes) => causes,
        };
        let causes = if causes.is_empty() { String::new() } else { format!(": {}", in_words(&causes)) };
        lines.push(format!("task `{}` failed{causes}", plan.task_id(task)));
    }
    Ok(lines)
}

/// Returns the upstream tasks of a task, including its setup tasks.
fn before(plan: &Plan, task: TaskIdx) -> Vec<TaskIdx> {
    let planned = plan.task(task);
    planned.up.iter().chain(&planned.setups).chain(&planned.scope).map(|edge| edge.task).collect()
}

/// Returns the failed tasks before `task`, in the order of the plan. Tasks in between are `upstream_failed`, so only
/// these are followed.
fn origins(
    task: TaskIdx,
    state: impl Fn(TaskIdx) -> TaskState,
    before: impl Fn(TaskIdx) -> Vec<TaskIdx>,
) -> Vec<TaskIdx> {
    let (mut seen, mut failed, mut next) = (BTreeSet::new(), BTreeSet::new(), vec![task]);
    while let Some(task) = next.pop() {
        for up in before(task) {
            match state(up) {
                TaskState::Failed => {
                    failed.insert(up);
                }
                TaskState::UpstreamFailed if seen.insert(up) => next.push(up),
                _ => {}
            }
        }
    }
    failed.into_iter().take(MAX_UPSTREAMS).collect()
}

/// Returns why an unfinished instance does not run.
async fn reasons(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Vec<BlockingReason>> {
    why_not(db, &mut app.versions.clone(), &instance.run, &instance.row).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_that_failed_are_found_behind_those_that_did_not_run() {
        // 0 and 1 failed, 2 follows 0, 3 follows 2 and 1, 4 succeeded before 3.
        let states = [
            TaskState::Failed,
            TaskState::Failed,
            TaskState::UpstreamFailed,
            TaskState::UpstreamFailed,
            TaskState::Success,
        ];
        let before = |task: TaskIdx| match task {
            2 => vec![0],
            3 => vec![2, 1, 4],
            _ => Vec::new(),
        };
        assert_eq!(origins(3, |task| states[usize::from(task)], before), [0, 1]);
        assert_eq!(origins(2, |task| states[usize::from(task)], before), [0]);
    }
}
