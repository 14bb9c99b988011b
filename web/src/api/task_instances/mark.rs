//! `PATCH …/taskInstances/{task_id}` and `…/taskGroupInstances/{group_id}`: marks instances with a final state or adds
//! a note. With `dry_run`, returns the instances that would change.

use super::meant::{InstancesOfRun, Note, Target, TaskInstancePatch, meant};
use super::tries::{ElementParams, named};
use super::{Instance, OfRun, TaskInstancePage, rows_of};
use crate::api::dag_runs::tell;
use crate::api::mask::MaskParams;
use crate::extract::path_numbers::MAP_INDEX;
use crate::extract::{Actor, Names, Query, RunPath, Typed};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_deeds::instance::{self, MarkInstances};
use orch_spec::state::TaskState;
use orch_store::StoreError;
use orch_store::instance::InstanceRow;
use orch_store::locks::{Dags, Locks, lock_dag};
use orch_store::note::notes_of;
use orch_wire::body::{IfSent, NoteText, counts};
use orch_wire::fields::text;
use orch_wire::{Problem, body, field_type};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

field_type! {
    /// The task states that a user may set.
    struct MarkWord(TaskState); |value: &Value| {
        let word = text(value)?;
        let state = ENDS.iter().find(|state| state.as_str() == word);
        state.copied().ok_or_else(|| unlike(&word).with_input(value))
    };
    { "type": "string", "enum": ENDS.map(TaskState::as_str) }
}

const ENDS: [TaskState; 3] = [TaskState::Success, TaskState::Failed, TaskState::Skipped];

fn unlike(word: &str) -> Problem {
    Problem::value(format!("'{word}' is not one of ['success', 'failed', 'skipped']"))
}

body! {
    /// The related instances that a change includes.
    pub(crate) struct Reach {
        include_upstream: Option<bool>,
        include_downstream: Option<bool>,
        include_future: Option<bool>,
        include_past: Option<bool>,
    }
}

body! {
    pub(crate) struct PatchTaskInstanceBody {
        new_state: Option<MarkWord>,
        note: IfSent<Option<NoteText>>,
        ..reach: Reach,
    }
    schema json!({ "anyOf": [
        { "required": ["new_state"], "properties": { "new_state": { "type": "string" } } },
        { "required": ["note"] },
    ] });
}

impl PatchTaskInstanceBody {
    /// Returns the requested change of the fields in the mask. An empty mask contains all fields.
    pub(super) fn wish<S: AsRef<str>>(self, mask: &[S]) -> Result<TaskInstancePatch, Problem> {
        let note = self.note.0.filter(|_| counts(mask, "note")).map(|note| Note(note.map(|note| note.0)));
        if self.new_state.is_none() && note.is_none() && mask.is_empty() {
            return Err(unlike("None"));
        }
        Ok(TaskInstancePatch {
            state: self.new_state.map(|state| state.0).filter(|_| counts(mask, "new_state")),
            note,
            upstream: self.reach.include_upstream.unwrap_or(false),
            downstream: self.reach.include_downstream.unwrap_or(false),
            future: self.reach.include_future.unwrap_or(false),
            past: self.reach.include_past.unwrap_or(false),
        })
    }
}

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    mut query: Query,
    Typed(body): Typed<PatchTaskInstanceBody>,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = wish(&mut query, body)?;
    let (path, target) = target(&names, &mut query)?;
    let mut db = app.pages().await?;
    let meant = meant(&app, &mut db, (&path, &target), &wish).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    carry_out(&app, &mut tx, Locks::begin(), &actor, &meant, &wish).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tell(&app);
    read_instance_page(&app, &mut db, &meant).await.map(Json)
}

pub(crate) async fn dry_run(
    State(app): State<App>,
    names: Names,
    mut query: Query,
    Typed(body): Typed<PatchTaskInstanceBody>,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let wish = wish(&mut query, body)?;
    let (path, target) = target(&names, &mut query)?;
    let mut db = app.pages().await?;
    let meant = meant(&app, &mut db, (&path, &target), &wish).await?;
    read_instance_page(&app, &mut db, &meant).await.map(Json)
}

fn wish(query: &mut Query, body: PatchTaskInstanceBody) -> Result<TaskInstancePatch, Refusal> {
    let MaskParams::<PatchTaskInstanceBody> { update_mask } = query.take();
    Ok(body.wish(&update_mask).map_err(|problem| problem.below("body"))?)
}

fn target(names: &Names, query: &mut Query) -> Result<(RunPath, Target), Refusal> {
    if !names.get("group_id").is_empty() {
        query.finish()?;
        return Ok((names.run()?, Target::Group(names.get("group_id").into())));
    }
    let path = names.task()?;
    let map_index = match names.get("map_index") {
        "" => {
            let ElementParams { map_index } = query.take();
            map_index.map(|index| i32::try_from(index).unwrap_or(i32::MAX))
        }
        _ => Some(names.number(MAP_INDEX)?),
    };
    query.finish()?;
    Ok((path.run, Target::Task(path.task_id, map_index)))
}

/// Marks and annotates instances of runs of one DAG in the caller's transaction. The caller must send the hints after
/// the commit.
pub(crate) async fn carry_out(
    app: &App,
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    actor: &Actor,
    meant: &[InstancesOfRun],
    wish: &TaskInstancePatch,
) -> Result<(), Refusal> {
    let marking = match (wish.state, meant.first()) {
        (Some(state), Some((run, _))) => Some((state, lock_dag(tx, locks, &run.dag_id).await?)),
        _ => None,
    };
    for (run, instances) in meant {
        if let Some((state, dag)) = &marking
            && let MarkInstances::NotYet { task_id } =
                instance::mark(tx, dag, &app.versions, actor, run, instances, *state).await?
        {
            let text = format!(
                "task `{task_id}` of run `{}` cannot be marked yet: the run has not begun, or the list it is mapped over is                 not known: try again when it is",
                run.run_id
            );
            return Err(Refusal::plain(StatusCode::CONFLICT, text));
        }
        if let Some(Note(note)) = &wish.note {
            instance::note(tx, &app.versions, actor, run, instances, note.as_deref()).await?;
        }
    }
    Ok(())
}

async fn read_instance_page(
    app: &App,
    db: &mut PgConnection,
    meant: &[InstancesOfRun],
) -> Result<TaskInstancePage, Refusal> {
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

/// Handles `…/dependencies`: returns why an instance does not run.
pub(crate) async fn dependencies(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<crate::api::why::Dependencies>, Refusal> {
    let instance: Instance = named(&app, &names, &mut query).await?;
    let mut db = app.pages().await?;
    Ok(Json(crate::api::why::dependencies(&app, &mut db, &instance).await?))
}
