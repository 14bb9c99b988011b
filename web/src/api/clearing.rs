//! Clearing whole runs or selected task instances: a preview, and the change in one transaction.

use super::dag_runs::tell;
use super::task_instances::{OfRun, TaskInstancePage, rows_of};
use crate::extract::Actor;
use crate::refusal::Refusal;
use crate::state::App;
use axum::http::StatusCode;
use orch_core::plan::TaskIdx;
use orch_deeds::instance::{self, ClearInstances, ClearOptions};
use orch_store::StoreError;
use orch_store::clear::{ClearScope, Cleared, would_clear};
use orch_store::locks::Locks;
use orch_store::note::notes_of;
use orch_store::run::{MoveRun, RunDetails};
use sqlx::{Connection, PgConnection};

pub(crate) struct Clearing {
    pub(crate) runs: Vec<(RunDetails, ClearScope)>,
    pub(crate) options: ClearOptions,
}

/// Maximum number of cleared instances in a response. All selected instances are cleared and counted.
const MOST_SHOWN: usize = 1_000;

/// Returns the instances that would be cleared.
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

/// Clears all selected instances in one transaction and returns the cleared instances of each run.
pub(crate) async fn carry_out(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    clearing: &Clearing,
) -> Result<Vec<Cleared>, Refusal> {
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let (mut done, locks) = (Vec::with_capacity(clearing.runs.len()), Locks::begin().runs());
    for (run, wish) in &clearing.runs {
        let cleared = instance::clear(&mut tx, &locks, &app.versions, actor, (run, wish), &clearing.options).await?;
        done.push(in_run(run, cleared)?);
    }
    tx.commit().await.map_err(StoreError::from)?;
    tell(app);
    Ok(done)
}

fn in_run(run: &RunDetails, cleared: ClearInstances) -> Result<Cleared, Refusal> {
    match cleared {
        ClearInstances::Cleared(cleared) => Ok(cleared),
        ClearInstances::NotMoved(why) => {
            let why = match why {
                MoveRun::Over(state) => format!("it is over: {state}"),
                MoveRun::Running => "some of its tasks are running".into(),
                MoveRun::CannotMove(why) => why.to_string(),
                MoveRun::Moved | MoveRun::Same | MoveRun::OtherDag | MoveRun::NoSuchRun => "it is gone".into(),
            };
            let text = format!("run `{}` cannot continue in the newest version: {why}", run.run_id);
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
        ClearInstances::Running => {
            let text = "a task instance is running: `prevent_running_task` keeps it from being cleared";
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}

/// Clears like [`carry_out`] and returns a page with the cleared instances.
pub(super) async fn clear(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    clearing: &Clearing,
) -> Result<TaskInstancePage, Refusal> {
    let done = carry_out(app, db, actor, clearing).await?;
    let mut page = TaskInstancePage::default();
    for ((run, _), cleared) in clearing.runs.iter().zip(&done) {
        // Clearing may have moved the run to another version.
        let run = orch_store::run::run_by_uuid(db, run.id).await?.unwrap_or_else(|| run.clone());
        show(app, db, &run, cleared, &mut page).await?;
    }
    Ok(page)
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
