//! Changes of a run: its state and its note, and deleting it.

use super::find;
use super::view::DagRunView;
use crate::api::mask::MaskParams;
use crate::extract::{Actor, Query, RunPath, Typed, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::transition::RunEnd;
use orch_spec::state::RunState;
use orch_store::StoreError;
use orch_store::locks::{Dags, Locks};
use orch_store::run::{DeleteRun, EndRun, RunDetails};
use orch_wire::body::{IfSent, NoteText, counts};
use orch_wire::{body, one_of};
use sqlx::{Connection, PgConnection};

one_of! {
    /// The run states that a user may set.
    pub(in crate::api) struct RunEndWord(RunState): "queued", "success", "failed"
}

body! {
    pub(crate) struct DAGRunPatchBody {
        state: Option<RunEndWord>,
        note: IfSent<Option<NoteText>>,
    }
}

impl DAGRunPatchBody {
    /// Drops the fields that are not in the mask. An empty mask contains all fields.
    pub(super) fn masked<S: AsRef<str>>(self, mask: &[S]) -> DAGRunPatchBody {
        DAGRunPatchBody {
            state: self.state.filter(|_| counts(mask, "state")),
            note: IfSent(self.note.0.filter(|_| counts(mask, "note"))),
        }
    }

    /// Applies the change in the caller's transaction. The caller must send the hints after the commit ([`tell`]).
    pub(super) async fn carry_out(
        &self,
        app: &App,
        tx: &mut PgConnection,
        locks: Locks<Dags>,
        actor: &Actor,
        run: &RunDetails,
    ) -> Result<(), Refusal> {
        if let Some(RunEndWord(state)) = self.state {
            set_state(app, tx, locks, actor, run, state).await?;
        }
        if let Some(note) = &self.note.0 {
            orch_deeds::run::note(tx, actor, run, note.as_ref().map(|note| &*note.0)).await?;
        }
        Ok(())
    }
}

/// Wakes workers that wait for work, requests that wait for the end of a run, and workers that must stop an attempt.
pub(crate) fn tell(app: &App) {
    orch_deeds::run::ENDED.into_iter().for_each(|hint| app.hints.give(hint));
}

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
    mut query: Query,
    Typed(body): Typed<DAGRunPatchBody>,
) -> Result<Json<DagRunView>, Refusal> {
    let MaskParams::<DAGRunPatchBody> { update_mask } = query.take();
    let change = body.masked(&update_mask);
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    change.carry_out(&app, &mut tx, Locks::begin(), &actor, &run).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tell(&app);
    Ok(Json(find(&mut db, &path).await?.into()))
}

async fn set_state(
    app: &App,
    tx: &mut PgConnection,
    locks: Locks<Dags>,
    actor: &Actor,
    run: &RunDetails,
    state: RunState,
) -> Result<(), Refusal> {
    let end = match state {
        RunState::Success => RunEnd::Success,
        RunState::Failed => RunEnd::Failed,
        _ if run.state == RunState::Queued => return Ok(()),
        _ => {
            let text = "a run that began is not queued again: clear what shall run again";
            return Err(Refusal::plain(StatusCode::CONFLICT, text));
        }
    };
    match orch_deeds::run::mark(tx, locks, &app.versions, actor, run, end).await? {
        EndRun::Ended(_) | EndRun::AlreadyOver(_) => Ok(()),
        EndRun::NoSuchRun => Err(no_such_run(&run.dag_id, &run.run_id)),
    }
}

pub(crate) async fn cancel(State(app): State<App>, actor: Actor, path: RunPath) -> Result<Json<DagRunView>, Refusal> {
    let run = find(&mut *app.pages().await?, &path).await?;
    let ended = app
        .in_transaction(async |tx| Ok(orch_deeds::run::stop(tx, Locks::begin(), &app.versions, &actor, &run).await?))
        .await?;
    match ended {
        EndRun::Ended(_) => tell(&app),
        EndRun::AlreadyOver(state) => {
            return Err(Refusal::plain(StatusCode::CONFLICT, format!("the run is over already: {state}")));
        }
        EndRun::NoSuchRun => return Err(no_such_run(&run.dag_id, &run.run_id)),
    }
    Ok(Json(find(&mut *app.pages().await?, &path).await?.into()))
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, path: RunPath) -> Result<StatusCode, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    remove(&app, &mut db, &actor, &run).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove(app: &App, db: &mut PgConnection, actor: &Actor, run: &RunDetails) -> Result<(), Refusal> {
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    match orch_deeds::run::delete(&mut tx, Locks::begin(), &app.versions, actor, run).await? {
        DeleteRun::Deleted => {
            tx.commit().await.map_err(StoreError::from)?;
            orch_deeds::run::DELETED.into_iter().for_each(|hint| app.hints.give(hint));
            Ok(())
        }
        DeleteRun::NoSuchRun => Err(no_such_run(&run.dag_id, &run.run_id)),
        DeleteRun::Running => {
            let text = format!("The run `{}` is running: mark it as failed first", run.run_id);
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}
