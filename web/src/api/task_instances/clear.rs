//! `POST /api/v2/dags/{dag_id}/clearTaskInstances`: which instances of which runs begin anew.

use super::TaskInstancePage;
use crate::api::clearing::{Clearing, clear, preview};
use crate::api::dag_runs::find;
use crate::extract::{Actor, DagPath, Fields, JsonBody, RunPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use orch_core::plan::Plan;
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::state::TaskState;
use orch_store::clear::ClearWish;
use orch_store::list::{Compare, Search};
use orch_store::narrow;
use orch_store::run::{Around, RUNS, RunDetails, by, runs_around};
use orch_wire::Problem;
use orch_wire::fields::integer;
use serde_json::Value;
use sqlx::PgConnection;

/// Runs that one request may clear in.
const MOST_RUNS: i64 = 200;

/// Airflow's `ClearTaskInstancesBody`.
#[expect(clippy::struct_excessive_bools, reason = "the fields are Airflow's")]
struct Wish {
    dry_run: bool,
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    states: Vec<TaskState>,
    /// A task, or one element of it.
    tasks: Option<Vec<(String, Option<i32>)>>,
    run_id: Option<String>,
    upstream: bool,
    downstream: bool,
    future: bool,
    past: bool,
    latest: bool,
    refuse_running: bool,
    /// Runs that are over may run again.
    reset_runs: bool,
    note: Option<String>,
}

pub(crate) async fn clear_chosen(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    body: JsonBody,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = read(body.fields())?;
    let mut db = app.pages().await?;
    let dag = crate::api::dags::find(&mut db, &dag_id).await?;
    let mut runs = Vec::new();
    let mut known = vec![false; wish.tasks.as_ref().map_or(0, Vec::len)];
    for run in meant(&mut db, &dag.dag_id, &wish).await? {
        let version = app.versions.get(&mut db, run.version).await?;
        let selection = selection(&version.plan, &wish, &mut known);
        let wish = ClearWish { selection, version: Some(run.version), states: wish.states.clone() };
        runs.push((run, wish));
    }
    if let (Some(tasks), Some(place), false) = (&wish.tasks, known.iter().position(|known| !known), runs.is_empty()) {
        return Err(Refusal::not_found(format!("Task with ID '{}' not found", tasks[place].0.escape_debug())));
    }
    let (latest, refuse_running) = (wish.latest, wish.refuse_running);
    if let (false, false, Some((run, _))) =
        (wish.reset_runs, wish.dry_run, runs.iter().find(|(run, _)| run.state.is_finished()))
    {
        let text = format!("run `{}` is over: with `reset_dag_runs: false` nothing of it could run again", run.run_id);
        return Err(Refusal::plain(StatusCode::CONFLICT, text));
    }
    let clearing = Clearing {
        runs,
        latest,
        run_note: None,
        instance_note: wish.note,
        event: "clear_task_instances",
        refuse_running,
    };
    let page = if wish.dry_run {
        preview(&app, &mut db, &clearing).await?
    } else {
        clear(&app, &mut db, &actor, &clearing).await?
    };
    Ok(Json(page))
}

fn read(mut fields: Fields) -> Result<Wish, Refusal> {
    let dry_run = fields.flag("dry_run").unwrap_or(true);
    let (start, end) = (fields.moment("start_date"), fields.moment("end_date"));
    let only_failed = fields.flag("only_failed");
    let only_running = fields.flag("only_running").unwrap_or(false);
    let reset_runs = fields.flag("reset_dag_runs").unwrap_or(true);
    let tasks = fields.list("task_ids", task);
    let run_id = fields.text("dag_run_id");
    let mut flag = |name| fields.flag(name).unwrap_or(false);
    let (upstream, downstream) = (flag("include_upstream"), flag("include_downstream"));
    let (future, past) = (flag("include_future"), flag("include_past"));
    let (latest, refuse_running) = (flag("run_on_latest_version"), flag("prevent_running_task"));
    let note = fields.note();
    for (wrong, why) in [
        (only_failed == Some(true) && only_running, "only_failed and only_running both are set to True"),
        (start.zip(end).is_some_and(|(start, end)| end < start), "end_date is sooner than start_date"),
        (
            run_id.is_some() && (start.is_some() || end.is_some()),
            "Exactly one of dag_run_id or (start_date and end_date) must be provided",
        ),
        (tasks.as_ref().is_some_and(Vec::is_empty), "task_ids list should have at least 1 element."),
        (
            run_id.is_none() && (future || past),
            "dag_run_id is required when include_past or include_future is set to True",
        ),
    ] {
        if wrong {
            fields.refuse(Problem::value(why));
        }
    }
    fields.finish()?;
    let states = match (only_running, only_failed.unwrap_or(true)) {
        (true, _) => vec![TaskState::Running],
        (false, true) => vec![TaskState::Failed, TaskState::UpstreamFailed],
        (false, false) => Vec::new(),
    };
    Ok(Wish {
        dry_run,
        start,
        end,
        states,
        tasks,
        run_id,
        upstream,
        downstream,
        future,
        past,
        latest,
        refuse_running,
        reset_runs,
        note,
    })
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

async fn meant(db: &mut PgConnection, dag_id: &str, wish: &Wish) -> Result<Vec<RunDetails>, Refusal> {
    let runs = if let Some(run_id) = &wish.run_id {
        let run = find(db, &RunPath::of(dag_id, run_id)?).await?;
        runs_around(db, &run, Around { past: wish.past, future: wish.future }, MOST_RUNS).await?
    } else {
        let search = Search::default()
            .and(by::DAG_ID.is(dag_id))
            .and(wish.start.map(|at| by::LOGICAL_DATE.compare(Compare::AtLeast, at)))
            .and(wish.end.map(|at| by::LOGICAL_DATE.compare(Compare::AtMost, at)));
        RUNS.rows(db, &search.by(by::RUN_AFTER.ascending()).page(0, MOST_RUNS + 1)).await?
    };
    if runs.len() as i64 > MOST_RUNS {
        let text = format!("more than {MOST_RUNS} runs are meant: name a time from `start_date` to `end_date`");
        return Err(Refusal::bad_request(text));
    }
    Ok(runs)
}

/// `known`: which of the named tasks some run has.
fn selection(plan: &Plan, wish: &Wish, known: &mut [bool]) -> Selection {
    let tasks = match &wish.tasks {
        None => (0..narrow::task(plan.tasks.len())).map(|task| Selected { task, index: None }).collect(),
        Some(named) => {
            let mut tasks = Vec::new();
            for ((id, index), known) in named.iter().zip(known) {
                if let Some(task) = plan.index_of(id) {
                    *known = true;
                    tasks.push(Selected { task, index: *index });
                }
            }
            tasks
        }
    };
    Selection { tasks, upstream: wish.upstream, downstream: wish.downstream }
}
