//! `PATCH …/taskInstances/{task_id}` and `…/taskGroupInstances/{group_id}`: somebody says how instances ended, or writes a
//! note on them; with `dry_run`, which those would be.

use super::meant::{Meant, Target, Wish, meant};
use super::{Instance, OfRun, TaskInstancePage, rows_of};
use crate::extract::{Actor, Fields, JsonBody, Names, Note, Query, RunPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::plan::TaskIdx;
use orch_spec::state::TaskState;
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::instance::InstanceRow;
use orch_store::mark::{Mark, ask_again, mark_instance};
use orch_store::note::{notes_of, set_notes};
use orch_store::run::{RunDetails, start_queued_runs};
use orch_wire::Problem;
use serde_json::json;
use sqlx::{Connection, PgConnection};

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = read(&query, body)?;
    let (path, target) = target(&names, &mut query)?;
    let mut db = app.pages().await?;
    let meant = meant(&app, &mut db, (&path, &target), &wish).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    carry_out(&app, &mut tx, &actor, &meant, &wish).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tell(&app);
    shown(&app, &mut db, &meant).await.map(Json)
}

pub(crate) async fn dry_run(
    State(app): State<App>,
    names: Names,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = read(&query, body)?;
    let (path, target) = target(&names, &mut query)?;
    let mut db = app.pages().await?;
    let meant = meant(&app, &mut db, (&path, &target), &wish).await?;
    shown(&app, &mut db, &meant).await.map(Json)
}

/// Whoever waits for work, for the end of a run or for an order to stop.
pub(crate) fn tell(app: &App) {
    [Hint::Stop, Hint::Run, Hint::Ready].into_iter().for_each(|hint| app.hints.give(hint));
}

fn read(query: &Query, body: JsonBody) -> Result<Wish, Refusal> {
    let masked: Vec<&str> = query.all("update_mask").collect();
    let mut fields = body.fields();
    let wish = wish(&mut fields, &masked);
    fields.finish()?;
    Ok(wish)
}

/// `masked`: only these fields count; empty: all.
pub(super) fn wish(fields: &mut Fields, masked: &[&str]) -> Wish {
    let counts = |name: &str| masked.is_empty() || masked.contains(&name);
    let noted = fields.has("note") && counts("note");
    let (word, note) = (fields.text("new_state"), fields.note());
    let state = match word.as_deref() {
        Some("success") => Some(TaskState::Success),
        Some("failed") => Some(TaskState::Failed),
        Some("skipped") => Some(TaskState::Skipped),
        None if noted || !masked.is_empty() => None,
        other => {
            let why = format!("'{}' is not one of ['success', 'failed', 'skipped']", other.unwrap_or("None"));
            fields.refuse(Problem::value(why).with_input(&json!(word)));
            None
        }
    };
    let mut flag = |name| fields.flag(name).unwrap_or(false);
    let (upstream, downstream) = (flag("include_upstream"), flag("include_downstream"));
    let (future, past) = (flag("include_future"), flag("include_past"));
    let state = state.filter(|_| counts("new_state"));
    Wish { state, note: noted.then_some(Note(note)), upstream, downstream, future, past }
}

/// What a path names.
fn target(names: &Names, query: &mut Query) -> Result<(RunPath, Target), Refusal> {
    if !names.get("group_id").is_empty() {
        query.finish()?;
        return Ok((names.run()?, Target::Group(names.get("group_id").into())));
    }
    let path = names.task()?;
    let map_index = match names.get("map_index") {
        "" => query.whole_numbers("map_index").last().map(|&index| i32::try_from(index).unwrap_or(i32::MAX)),
        _ => Some(names.number::<i32>("map_index")?),
    };
    query.finish()?;
    Ok((path.run, Target::Task(path.task_id, map_index)))
}

/// In a transaction of the caller, who tells the others when it is committed.
pub(crate) async fn carry_out(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    meant: &[Meant],
    wish: &Wish,
) -> Result<(), Refusal> {
    for (run, instances) in meant {
        if let Some(state) = wish.state {
            for &instance in instances {
                mark(app, tx, actor, run, instance, state).await?;
            }
            if matches!(state, TaskState::Success | TaskState::Skipped) {
                let tasks: Vec<TaskIdx> = instances.iter().map(|instance| instance.0).collect();
                ask_again(tx, &mut app.versions.clone(), (run.id, run.version), &tasks).await?;
            }
            start_queued_runs(tx, &mut app.versions.clone(), &run.dag_id).await?;
        }
        if let Some(Note(note)) = &wish.note {
            write_note(app, tx, actor, run, instances, note.as_deref()).await?;
        }
    }
    Ok(())
}

async fn write_note(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    run: &RunDetails,
    instances: &[(TaskIdx, i32)],
    note: Option<&str>,
) -> Result<(), Refusal> {
    let version = app.versions.get(db, run.version).await?;
    let named: Vec<(&str, i32)> = instances.iter().map(|&(task, index)| (version.plan.task_id(task), index)).collect();
    set_notes(db, run.id, &named, note).await?;
    let only = match named.as_slice() {
        [one] => Some(*one),
        _ => None,
    };
    let deed = Deed {
        event: "note_task_instance",
        dag_id: Some(&run.dag_id),
        run_id: Some(&run.run_id),
        task_id: only.map(|one| one.0),
        map_index: only.map(|one| one.1).filter(|index| *index >= 0),
        extra: Some(json!({ "instances": named.len() })),
        ..Deed::default()
    };
    Ok(actor.did(db, deed).await?)
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
    match mark_instance(db, &mut versions, (run.id, Some(run.version)), (task, map_index), state).await? {
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
                "task `{task_id}` of run `{}` cannot be marked yet: the run has not begun, or the list it is mapped over is \
                not known: try again when it is",
                run.run_id
            );
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}

async fn shown(app: &App, db: &mut PgConnection, meant: &[Meant]) -> Result<TaskInstancePage, Refusal> {
    let mut page = TaskInstancePage::default();
    for (run, instances) in meant {
        let version = app.versions.get(db, run.version).await?;
        let rows: Vec<InstanceRow> = rows_of(app, db, run, &version.plan, instances).await?;
        let notes = notes_of(db, &[run.id]).await?;
        let of_run = OfRun { run, plan: &version.plan, notes: &notes };
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
