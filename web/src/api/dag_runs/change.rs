//! Changes of a run: how it ended, what people wrote about it, that it is gone.

use super::find;
use super::view::DagRunView;
use crate::extract::{Actor, JsonBody, Query, RunPath, no_such_run};
use crate::problem::Problem;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::state::RunState;
use orch_core::transition::RunEnd;
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::run::{DeleteRun, EndRun, RunDetails, delete_run, set_note, set_run_state, start_queued_runs};
use serde_json::json;
use sqlx::{Connection, PgConnection};

/// As long as a note may be in Airflow.
pub(super) const MOST_NOTE_CHARS: usize = 1_000;

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
    query: Query,
    body: JsonBody,
) -> Result<Json<DagRunView>, Refusal> {
    let mut fields = body.fields();
    let masked: Vec<&str> = query.all("update_mask").collect();
    let meant = |name: &str| masked.is_empty() || masked.contains(&name);
    let noted = fields.has("note") && meant("note");
    let (word, note) = (fields.text("state"), fields.text("note"));
    let state = word.as_deref().map(str::parse::<RunState>).filter(|_| meant("state"));
    if matches!(state, Some(Err(_) | Ok(RunState::Running))) {
        let msg = "Input should be 'queued', 'success' or 'failed'";
        fields.refuse(Problem::new("enum", msg).with_input(&json!(word)));
    }
    if note.as_ref().is_some_and(|note| note.chars().count() > MOST_NOTE_CHARS) {
        fields.refuse(Problem::value(format!("a note has at most {MOST_NOTE_CHARS} characters")));
    }
    fields.finish()?;
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    if let Some(Ok(state)) = state {
        set_state(&app, &mut tx, &actor, &run, state).await?;
    }
    if noted {
        set_note(&mut tx, run.id, note.as_deref()).await?;
        let deed =
            Deed { event: "note_dag_run", dag_id: Some(&run.dag_id), run_id: Some(&run.run_id), ..Deed::default() };
        actor.did(&mut tx, deed).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    if state.is_some() {
        [Hint::Stop, Hint::Run, Hint::Ready].into_iter().for_each(|hint| app.hints.give(hint));
    }
    Ok(Json(find(&mut db, &path).await?.into()))
}

async fn set_state(
    app: &App,
    db: &mut PgConnection,
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
    let mut versions = app.versions.clone();
    match set_run_state(db, &mut versions, run.id, end).await? {
        EndRun::Ended(_) => {
            start_queued_runs(db, &mut versions, &run.dag_id).await?;
            let deed = Deed {
                event: "mark_dag_run",
                dag_id: Some(&run.dag_id),
                run_id: Some(&run.run_id),
                extra: Some(json!({ "state": state })),
                ..Deed::default()
            };
            Ok(actor.did(db, deed).await?)
        }
        EndRun::AlreadyOver(_) => Ok(()),
        EndRun::NoSuchRun => Err(no_such_run(&run.dag_id, &run.run_id)),
    }
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, path: RunPath) -> Result<StatusCode, Refusal> {
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    match delete_run(&mut tx, &run.dag_id, &run.run_id).await? {
        DeleteRun::Deleted => {
            let names = (Some(run.dag_id.as_str()), Some(run.run_id.as_str()));
            actor
                .did(&mut tx, Deed { event: "delete_dag_run", dag_id: names.0, run_id: names.1, ..Deed::default() })
                .await?;
            tx.commit().await.map_err(StoreError::from)?;
            Ok(StatusCode::NO_CONTENT)
        }
        DeleteRun::NoSuchRun => Err(no_such_run(&run.dag_id, &run.run_id)),
        DeleteRun::Running => {
            let text = format!("The run `{}` is running: mark it as failed first", run.run_id);
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}
