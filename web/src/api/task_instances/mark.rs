//! `PATCH …/taskInstances/{task_id}`: somebody says how instances ended; with `dry_run`, which those would be.

use super::{Instance, OfRun, TaskInstancePage, one_instance, rows_of};
use crate::api::dag_runs::find;
use crate::extract::{Actor, JsonBody, Names, Query, TaskPath, no_such_instance};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::Selection;
use orch_core::state::TaskState;
use orch_core::transition::Selected;
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::clear::{ClearWish, clear_instances};
use orch_store::hint::Hint;
use orch_store::instance::{InstanceRow, ledger};
use orch_store::mark::{Mark, mark_instance};
use orch_store::run::{
    Compare, Direction, RunCondition, RunDetails, RunOrder, RunSearch, RunTime, search_runs, start_queued_runs,
};
use orch_store::step::Stepper;
use serde_json::json;
use sqlx::{Connection, PgConnection};

/// Instances that one request may mark: each is a fold under its run's lock.
const MOST_MARKED: usize = 1_000;
/// Runs before or after the one that is named.
const MOST_RUNS: i64 = 100;

/// Airflow's `PatchTaskInstanceBody`.
#[expect(clippy::struct_excessive_bools, reason = "the fields are Airflow's")]
struct Wish {
    state: TaskState,
    upstream: bool,
    downstream: bool,
    future: bool,
    past: bool,
}

/// A run with those of its instances that are meant.
type Meant = (RunDetails, Vec<(TaskIdx, i32)>);

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = read(&query, body)?;
    let mut db = app.pages().await?;
    let meant = meant(&app, &mut db, &names, &mut query, &wish).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    for (run, instances) in &meant {
        for &instance in instances {
            mark(&app, &mut tx, &actor, run, instance, wish.state).await?;
        }
        if matches!(wish.state, TaskState::Success | TaskState::Skipped) {
            ask_again(&app, &mut tx, run, instances).await?;
        }
        start_queued_runs(&mut tx, &mut app.versions.clone(), &run.dag_id).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    [Hint::Stop, Hint::Run, Hint::Ready].into_iter().for_each(|hint| app.hints.give(hint));
    shown(&app, &mut db, &meant).await.map(Json)
}

pub(crate) async fn dry_run(
    State(app): State<App>,
    names: Names,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = read(&query, body)?;
    let mut db = app.pages().await?;
    let meant = meant(&app, &mut db, &names, &mut query, &wish).await?;
    shown(&app, &mut db, &meant).await.map(Json)
}

fn read(query: &Query, body: JsonBody) -> Result<Wish, Refusal> {
    let mut fields = body.fields();
    let (word, note) = (fields.text("new_state"), fields.text("note"));
    let state = match word.as_deref() {
        Some("success") => TaskState::Success,
        Some("failed") => TaskState::Failed,
        Some("skipped") => TaskState::Skipped,
        other => {
            if other.is_some() || note.is_none() {
                let why = format!("'{}' is not one of ['success', 'failed', 'skipped']", other.unwrap_or("None"));
                fields.refuse(Problem::value(why).with_input(&json!(word)));
            }
            TaskState::None
        }
    };
    let mut flag = |name| fields.flag(name).unwrap_or(false);
    let (upstream, downstream) = (flag("include_upstream"), flag("include_downstream"));
    let (future, past) = (flag("include_future"), flag("include_past"));
    fields.finish()?;
    if note.is_some() || query.all("update_mask").any(|field| field == "note") {
        return Err(Refusal::bad_request("notes on task instances are not kept: write one on the run"));
    }
    Ok(Wish { state, upstream, downstream, future, past })
}

/// Which instances those are, in all runs that are meant.
async fn meant(
    app: &App,
    db: &mut PgConnection,
    names: &Names,
    query: &mut Query,
    wish: &Wish,
) -> Result<Vec<Meant>, Refusal> {
    let path = names.task()?;
    let map_index = match names.get("map_index") {
        "" => query.whole_numbers("map_index").last().map(|&index| i32::try_from(index).unwrap_or(i32::MAX)),
        _ => Some(names.number::<i32>("map_index")?),
    };
    query.finish()?;
    if let Some(index) = map_index {
        // It must be there.
        one_instance(app, path.clone(), index).await?;
    }
    let run = find(db, &path.run).await?;
    let mut runs = vec![run.clone()];
    for (wanted, compare) in [(wish.past, Compare::Below), (wish.future, Compare::Above)] {
        if wanted {
            let search = RunSearch {
                conditions: vec![
                    RunCondition::Dags(vec![run.dag_id.clone()]),
                    RunCondition::Time(RunTime::RunAfter, compare, run.run_after),
                ],
                order: vec![(RunOrder::Time(RunTime::RunAfter), Direction::Ascending)],
                most: MOST_RUNS + 1,
                skip: 0,
            };
            runs.extend(search_runs(db, &search).await?);
        }
    }
    if runs.len() as i64 > MOST_RUNS {
        return Err(Refusal::bad_request(format!("more than {MOST_RUNS} runs are meant: mark them one by one")));
    }
    let (mut meant, mut count) = (Vec::new(), 0);
    for run in runs {
        let instances = in_run(app, db, &run, &path, map_index, wish).await?;
        count += instances.len();
        if count > MOST_MARKED {
            let text = format!("more than {MOST_MARKED} task instances are meant: mark fewer at once");
            return Err(Refusal::bad_request(text));
        }
        if !instances.is_empty() {
            meant.push((run, instances));
        }
    }
    Ok(meant)
}

/// Those of a run that are not in that state yet.
async fn in_run(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    path: &TaskPath,
    map_index: Option<i32>,
    wish: &Wish,
) -> Result<Vec<(TaskIdx, i32)>, Refusal> {
    let mut versions = app.versions.clone();
    let missing = || no_such_instance(&path.run, &path.task_id, -1);
    let ledger = ledger(db, &mut versions, run.id).await?.ok_or_else(missing)?;
    let plan = &ledger.version.plan;
    // Another run may be of a version without that task.
    let Some(task) = plan.index_of(&path.task_id) else {
        return if *path.run.run_id == *run.run_id { Err(missing()) } else { Ok(Vec::new()) };
    };
    let elements = |task: TaskIdx| match ledger.run.len(plan.task(task)).filter(|&len| len > 0) {
        None => (-1, 0),
        Some(len) => (0, len),
    };
    let mut wanted = Vec::new();
    for other in related(plan, task, wish) {
        let (from, to) = elements(other);
        match map_index {
            Some(index) if other == task && (from..to).contains(&index) => wanted.push((other, index)),
            Some(_) if other == task => {}
            _ => wanted.extend((from..to).map(|index| (other, index)).take(MOST_MARKED + 1)),
        }
    }
    if wanted.len() > MOST_MARKED {
        return Ok(wanted);
    }
    let rows = rows_of(app, db, run, plan, &wanted).await?;
    Ok(rows.into_iter().filter(|row| row.state != wish.state).map(|row| (row.task, row.map_index)).collect())
}

/// The task, and what is asked for above and below it, in the order of the DAG.
fn related(plan: &Plan, task: TaskIdx, wish: &Wish) -> Vec<TaskIdx> {
    let mut found = vec![task];
    if wish.upstream {
        reach(&mut found, task, |t| plan.task(t).up.iter().map(|edge| edge.task).collect());
    }
    if wish.downstream {
        reach(&mut found, task, |t| below(plan, t));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn below(plan: &Plan, task: TaskIdx) -> Vec<TaskIdx> {
    let waits = |t: &TaskIdx| plan.task(*t).up.iter().any(|edge| edge.task == task);
    plan.task(task).down.iter().map(|edge| edge.task).filter(waits).collect()
}

fn reach(found: &mut Vec<TaskIdx>, from: TaskIdx, next: impl Fn(TaskIdx) -> Vec<TaskIdx>) {
    let mut todo = vec![from];
    let mut seen = std::collections::BTreeSet::from([from]);
    while let Some(task) = todo.pop() {
        todo.extend(next(task).into_iter().filter(|&t| seen.insert(t)));
    }
    found.extend(seen);
}

async fn mark(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    run: &RunDetails,
    (task, map_index): (TaskIdx, i32),
    state: TaskState,
) -> Result<(), Refusal> {
    let mut versions = app.versions.clone();
    let version = versions.get(db, run.version).await?;
    let task_id = version.plan.task_id(task);
    match mark_instance(db, &mut versions, run.id, (task, map_index), state).await? {
        Mark::Marked(was) => {
            let deed = Deed {
                event: "mark_task_instance",
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                task_id: Some(task_id),
                map_index: (map_index >= 0).then_some(map_index),
                extra: Some(json!({ "state": state, "was": was })),
                ..Deed::default()
            };
            Ok(actor.did(db, deed).await?)
        }
        // The end of another may have decided it meanwhile.
        Mark::Same | Mark::NoSuchInstance => Ok(()),
        Mark::NotYet => {
            let text = format!(
                "task `{task_id}` of run `{}` has not begun and waits for its turn: try again later",
                run.run_id
            );
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}

/// What failed below because of what is told now is asked anew, as in Airflow.
async fn ask_again(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    marked: &[(TaskIdx, i32)],
) -> Result<(), Refusal> {
    let mut versions = app.versions.clone();
    let plan = versions.get(db, run.version).await?.plan.clone();
    let mut under = Vec::new();
    marked.iter().for_each(|&(task, _)| reach(&mut under, task, |t| below(&plan, t)));
    under.sort_unstable();
    under.dedup();
    under.retain(|task| marked.iter().all(|(known, _)| known != task));
    if under.is_empty() {
        return Ok(());
    }
    let tasks = under.into_iter().map(|task| Selected { task, index: None }).collect();
    let wish = ClearWish {
        selection: Selection { tasks, ..Selection::default() },
        states: vec![TaskState::Failed, TaskState::UpstreamFailed],
    };
    clear_instances(db, &mut Stepper::default(), &mut versions, run.id, &wish).await?;
    Ok(())
}

async fn shown(app: &App, db: &mut PgConnection, meant: &[Meant]) -> Result<TaskInstancePage, Refusal> {
    let mut page = TaskInstancePage::default();
    for (run, instances) in meant {
        let version = app.versions.get(db, run.version).await?;
        let rows: Vec<InstanceRow> = rows_of(app, db, run, &version.plan, instances).await?;
        let of_run = OfRun { run, plan: &version.plan };
        page.task_instances.extend(rows.into_iter().map(|row| of_run.instance(row)));
    }
    page.total_entries = page.task_instances.len();
    Ok(page)
}

/// What stands in the way of an instance: `…/dependencies`.
pub(crate) async fn dependencies(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<crate::api::why::Dependencies>, Refusal> {
    let instance: Instance = super::tries::named(&app, &names, &mut query).await?;
    let mut db = app.pages().await?;
    Ok(Json(crate::api::why::dependencies(&app, &mut db, &instance).await?))
}
