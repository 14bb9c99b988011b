//! `POST …/favorite` and `…/unfavorite`: the favorite DAGs of the user.

use super::find;
use crate::extract::{Actor, DagPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use orch_store::dag::{add_favorite, remove_favorite};

pub(crate) async fn favorite(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
) -> Result<StatusCode, Refusal> {
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    add_favorite(&mut db, &actor.name, &dag.dag_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn unfavorite(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
) -> Result<StatusCode, Refusal> {
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    if !remove_favorite(&mut db, &actor.name, &dag.dag_id).await? {
        return Err(Refusal::plain(StatusCode::CONFLICT, "Dag is not marked as favorite"));
    }
    Ok(StatusCode::NO_CONTENT)
}
