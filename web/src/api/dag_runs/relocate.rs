//! `POST /api/orch/v1/dags/{dag_id}/runs/{dag_run_id}/move`: moves a run to the newest version of its DAG.

use super::find;
use super::view::DagRunView;
use crate::extract::{Actor, RunPath, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_store::locks::Locks;
use orch_store::run::{MoveRun, RunDetails};

pub(crate) async fn move_to_newest(
    State(app): State<App>,
    actor: Actor,
    path: RunPath,
) -> Result<Json<DagRunView>, Refusal> {
    let run = find(&mut *app.pages().await?, &path).await?;
    let moved = app.in_transaction(async |tx| {
        Ok(orch_deeds::run::move_to_newest(tx, &Locks::begin().runs(), &app.versions, &actor, &run).await?)
    });
    match moved.await? {
        MoveRun::Moved => orch_deeds::run::MOVED.into_iter().for_each(|hint| app.hints.give(hint)),
        MoveRun::Same => {}
        refused => return Err(refusal(&run, &refused)),
    }
    Ok(Json(find(&mut *app.pages().await?, &path).await?.into()))
}

fn refusal(RunDetails { dag_id, run_id, .. }: &RunDetails, why: &MoveRun) -> Refusal {
    let text = match why {
        MoveRun::Over(state) => format!(
            "run `{run_id}` is over: {state}\n\
            hint: clear what shall run again: `orch tasks clear {dag_id} --run-id {run_id}`"
        ),
        MoveRun::Running => format!(
            "run `{run_id}` has running tasks, which are of its old version\nhint: try again when they are over"
        ),
        MoveRun::CannotMove(why) => format!(
            "run `{run_id}` cannot continue in the newest version: {why}\n\
            hint: start a worker with the old version until the run is over, or cancel it"
        ),
        MoveRun::Moved | MoveRun::Same | MoveRun::OtherDag | MoveRun::NoSuchRun => return no_such_run(dag_id, run_id),
    };
    Refusal::plain(StatusCode::CONFLICT, text)
}
