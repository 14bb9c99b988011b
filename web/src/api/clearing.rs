//! Clearing, of a whole run or of chosen instances of some: what it would do, and doing it in one transaction.

use super::task_instances::{OfRun, TaskInstancePage, rows_of};
use crate::extract::Actor;
use crate::refusal::Refusal;
use crate::state::App;
use axum::http::StatusCode;
use orch_core::plan::TaskIdx;
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::clear::{ClearWish, Cleared, clear_instances, would_clear};
use orch_store::dag::get_dag;
use orch_store::hint::Hint;
use orch_store::note::{notes_of, set_notes};
use orch_store::run::{MoveRun, RunDetails, move_run, set_note};
use orch_store::step::Stepper;
use serde_json::json;
use sqlx::{Connection, PgConnection};

/// What to clear, and how.
pub(crate) struct Clearing {
    pub(crate) runs: Vec<(RunDetails, ClearWish)>,
    /// Goes on in the newest version of the DAG.
    pub(crate) latest: bool,
    /// Written on the runs.
    pub(crate) run_note: Option<String>,
    /// Written on what is cleared.
    pub(crate) instance_note: Option<String>,
    pub(crate) event: &'static str,
    /// Something that runs is a conflict.
    pub(crate) refuse_running: bool,
}

/// Instances that are shown of a clear; all that are meant are cleared, and counted.
const MOST_SHOWN: usize = 1_000;

/// What would be cleared.
pub(super) async fn preview(
    app: &App,
    db: &mut PgConnection,
    clearing: &Clearing,
) -> Result<TaskInstancePage, Refusal> {
    let mut versions = app.versions.clone();
    let mut page = TaskInstancePage::default();
    for (run, wish) in &clearing.runs {
        let cleared = would_clear(db, &mut versions, run.id, wish).await?.unwrap_or_default();
        show(app, db, run, &cleared, &mut page).await?;
    }
    Ok(page)
}

/// Clears; all of it or nothing. What was cleared in each run.
pub(crate) async fn carry_out(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    clearing: &Clearing,
) -> Result<Vec<Cleared>, Refusal> {
    let (mut versions, mut stepper) = (app.versions.clone(), Stepper::default());
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let mut done = Vec::new();
    for (run, wish) in &clearing.runs {
        let cleared = clear_instances(&mut tx, &mut stepper, &mut versions, run.id, wish).await?.unwrap_or_default();
        if cleared.stopping && clearing.refuse_running {
            let text = "a task instance is running: `prevent_running_task` keeps it from being cleared";
            return Err(Refusal::plain(StatusCode::CONFLICT, text));
        }
        // Nothing of this run is meant.
        if cleared.instances.is_empty() && clearing.runs.len() > 1 {
            done.push(cleared);
            continue;
        }
        if let Some(note) = &clearing.instance_note {
            let plan = &app.versions.get(&mut tx, run.version).await?.plan;
            let named: Vec<_> = cleared.instances.iter().map(|i| (plan.task_id(i.0), i.1)).collect();
            set_notes(&mut tx, run.id, &named, Some(note)).await?;
        }
        if clearing.latest {
            to_latest(app, &mut tx, run).await?;
        }
        if let Some(note) = &clearing.run_note {
            set_note(&mut tx, run.id, Some(note)).await?;
        }
        let deed = Deed {
            event: clearing.event,
            dag_id: Some(&run.dag_id),
            run_id: Some(&run.run_id),
            extra: Some(json!({ "instances": cleared.instances.len() })),
            ..Deed::default()
        };
        actor.did(&mut tx, deed).await?;
        done.push(cleared);
    }
    tx.commit().await.map_err(StoreError::from)?;
    [Hint::Ready, Hint::Run, Hint::Stop].into_iter().for_each(|hint| app.hints.give(hint));
    Ok(done)
}

/// The same, and shows what was cleared.
pub(super) async fn clear(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    clearing: &Clearing,
) -> Result<TaskInstancePage, Refusal> {
    let done = carry_out(app, db, actor, clearing).await?;
    let mut page = TaskInstancePage::default();
    for ((run, _), cleared) in clearing.runs.iter().zip(&done) {
        // In its own version, or in the one it was moved to.
        let run = orch_store::run::run_by_uuid(db, run.id).await?.unwrap_or_else(|| run.clone());
        show(app, db, &run, cleared, &mut page).await?;
    }
    Ok(page)
}

async fn to_latest(app: &App, db: &mut PgConnection, run: &RunDetails) -> Result<(), Refusal> {
    let Some(dag) = get_dag(db, &run.dag_id).await? else { return Ok(()) };
    let refused = |why: String| {
        Err(Refusal::plain(
            StatusCode::CONFLICT,
            format!("run `{}` cannot continue in the newest version: {why}", run.run_id),
        ))
    };
    match move_run(db, &mut app.versions.clone(), run.id, dag.version).await? {
        MoveRun::Moved | MoveRun::Same | MoveRun::NoSuchRun | MoveRun::OtherDag => Ok(()),
        MoveRun::Over(state) => refused(format!("it is over: {state}")),
        MoveRun::Running => refused("some of its tasks are running".into()),
        MoveRun::CannotMove(why) => refused(why.to_string()),
    }
}

async fn show(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    cleared: &Cleared,
    page: &mut TaskInstancePage,
) -> Result<(), Refusal> {
    page.total_entries += cleared.instances.len();
    let room = MOST_SHOWN.saturating_sub(page.task_instances.len());
    let wanted: Vec<(TaskIdx, i32)> = cleared.instances.iter().take(room).map(|i| (i.0, i.1)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let version = app.versions.get(db, run.version).await?;
    let rows = rows_of(app, db, run, &version.plan, &wanted).await?;
    let notes = notes_of(db, &[run.id]).await?;
    let of_run = OfRun { run, plan: &version.plan, notes: &notes };
    page.task_instances.extend(rows.into_iter().map(|row| of_run.instance(row)));
    Ok(())
}
