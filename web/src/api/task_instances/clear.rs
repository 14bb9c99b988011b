//! `POST /api/v2/dags/{dag_id}/clearTaskInstances`: clears task instances of one or more runs.

use super::TaskInstancePage;
use super::mark::Reach;
use crate::api::clearing::{Clearing, clear, preview};
use crate::api::dag_runs::find;
use crate::extract::{Actor, DagPath, RunPath, Typed};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::plan::Plan;
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_deeds::instance::ClearOptions;
use orch_spec::state::TaskState;
use orch_store::clear::ClearScope;
use orch_store::list::{Compare, Search};
use orch_store::narrow;
use orch_store::run::{Around, RUNS, RunDetails, by, runs_around};
use orch_wire::body::{NonEmpty, NoteText};
use orch_wire::fields::integer;
use orch_wire::timestamp::Timestamp;
use orch_wire::{Problem, body, field_type};
use serde_json::Value;
use sqlx::PgConnection;

/// Maximum number of runs in a request.
const MOST_RUNS: i64 = 200;

field_type! {
    /// A task, or one of its mapped elements.
    struct TaskChoice((String, Option<i32>)); task;
    { "anyOf": [{ "type": "string" }, { "type": "array", "minItems": 2, "maxItems": 2,
        "prefixItems": [{ "type": "string" }, { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }] }] }
}

body! {
    pub(crate) struct ClearTaskInstancesBody {
        dry_run: Option<bool>,
        start_date: Option<Timestamp>,
        end_date: Option<Timestamp>,
        only_failed: Option<bool>,
        only_running: Option<bool>,
        /// Also restart finished runs.
        reset_dag_runs: Option<bool>,
        task_ids: Option<NonEmpty<TaskChoice>>,
        dag_run_id: Option<String>,
        run_on_latest_version: Option<bool>,
        prevent_running_task: Option<bool>,
        note: Option<NoteText>,
        ..reach: Reach,
    }
    rule makes_sense;
}

pub(crate) async fn clear_chosen(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    Typed(body): Typed<ClearTaskInstancesBody>,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let is_dry = body.dry_run.unwrap_or(true);
    let mut db = app.pages().await?;
    let dag = crate::api::dags::find(&mut db, &dag_id).await?;
    let mut runs = Vec::new();
    let mut known = vec![false; body.tasks().map_or(0, <[_]>::len)];
    for run in meant(&mut db, &dag.dag_id, &body).await? {
        let version = app.versions.get(&mut db, run.version).await?;
        let selection = selection(&version.plan, &body, &mut known);
        let wish = ClearScope { selection, version: Some(run.version), states: body.states() };
        runs.push((run, wish));
    }
    if let (Some(tasks), Some(place), false) = (body.tasks(), known.iter().position(|known| !known), runs.is_empty()) {
        return Err(Refusal::not_found(format!("Task with ID '{}' not found", tasks[place].0.0.escape_debug())));
    }
    let latest = body.run_on_latest_version.unwrap_or(false);
    let refuse_running = body.prevent_running_task.unwrap_or(false);
    if let (false, false, Some((run, _))) =
        (body.reset_dag_runs.unwrap_or(true), is_dry, runs.iter().find(|(run, _)| run.state.is_finished()))
    {
        let text = format!("run `{}` is over: with `reset_dag_runs: false` nothing of it could run again", run.run_id);
        return Err(Refusal::plain(StatusCode::CONFLICT, text));
    }
    let instance_note = body.note.map(|note| note.0);
    let options = ClearOptions { latest, instance_note, refuse_running, ..ClearOptions::default() };
    let clearing = Clearing { runs, options };
    let page =
        if is_dry { preview(&app, &mut db, &clearing).await? } else { clear(&app, &mut db, &actor, &clearing).await? };
    Ok(Json(page))
}

fn makes_sense(body: &ClearTaskInstancesBody) -> Result<(), Problem> {
    let ends = (body.start_date.map(|at| at.0), body.end_date.map(|at| at.0));
    let is = |flag: Option<bool>| flag == Some(true);
    for (wrong, why) in [
        (is(body.only_failed) && is(body.only_running), "only_failed and only_running both are set to True"),
        (ends.0.zip(ends.1).is_some_and(|(start, end)| end < start), "end_date is sooner than start_date"),
        (
            body.dag_run_id.is_some() && ends != (None, None),
            "Exactly one of dag_run_id or (start_date and end_date) must be provided",
        ),
        (
            body.dag_run_id.is_none() && (is(body.reach.include_future) || is(body.reach.include_past)),
            "dag_run_id is required when include_past or include_future is set to True",
        ),
    ] {
        if wrong {
            return Err(Problem::value(why));
        }
    }
    Ok(())
}

impl ClearTaskInstancesBody {
    fn states(&self) -> Vec<TaskState> {
        match (self.only_running.unwrap_or(false), self.only_failed.unwrap_or(true)) {
            (true, _) => vec![TaskState::Running],
            (false, true) => vec![TaskState::Failed, TaskState::UpstreamFailed],
            (false, false) => Vec::new(),
        }
    }

    fn tasks(&self) -> Option<&[TaskChoice]> {
        self.task_ids.as_ref().map(|tasks| &*tasks.0)
    }
}

fn task(value: &Value) -> Result<(String, Option<i32>), Problem> {
    let wrong = || Problem::new("string_type", "Input should be a task id, or a task id and a map index");
    match value {
        Value::String(id) => Ok((id.clone(), None)),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(id), index] => {
                let index = integer(index).and_then(|index| i32::try_from(index).ok()).ok_or_else(wrong)?;
                Ok((id.clone(), (index >= 0).then_some(index)))
            }
            _ => Err(wrong().with_input(value)),
        },
        _ => Err(wrong().with_input(value)),
    }
}

async fn meant(db: &mut PgConnection, dag_id: &str, body: &ClearTaskInstancesBody) -> Result<Vec<RunDetails>, Refusal> {
    let flag = |flag: Option<bool>| flag.unwrap_or(false);
    let runs = if let Some(run_id) = &body.dag_run_id {
        let run = find(db, &RunPath::of(dag_id, run_id)?).await?;
        let around = Around { past: flag(body.reach.include_past), future: flag(body.reach.include_future) };
        runs_around(db, &run, around, MOST_RUNS).await?
    } else {
        let search = Search::default()
            .and(by::DAG_ID.is(dag_id))
            .and(body.start_date.map(|at| by::LOGICAL_DATE.compare(Compare::AtLeast, at.0)))
            .and(body.end_date.map(|at| by::LOGICAL_DATE.compare(Compare::AtMost, at.0)));
        RUNS.rows(db, &search.by(by::RUN_AFTER.ascending()).page(0, MOST_RUNS + 1)).await?
    };
    if runs.len() as i64 > MOST_RUNS {
        let text = format!("more than {MOST_RUNS} runs are meant: name a time from `start_date` to `end_date`");
        return Err(Refusal::bad_request(text));
    }
    Ok(runs)
}

/// Returns the instances to clear. Sets `known` for each requested task that exists in this plan.
fn selection(plan: &Plan, body: &ClearTaskInstancesBody, known: &mut [bool]) -> Selection {
    let tasks = match body.tasks() {
        None => (0..narrow::task(plan.tasks.len())).map(|task| Selected { task, index: None }).collect(),
        Some(named) => {
            let mut tasks = Vec::new();
            for (TaskChoice((id, index)), known) in named.iter().zip(known) {
                if let Some(task) = plan.index_of(id) {
                    *known = true;
                    tasks.push(Selected { task, index: *index });
                }
            }
            tasks
        }
    };
    let flag = |flag: Option<bool>| flag.unwrap_or(false);
    let (upstream, downstream) = (flag(body.reach.include_upstream), flag(body.reach.include_downstream));
    Selection { tasks, upstream, downstream }
}
