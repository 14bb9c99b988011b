//! Changes of DAGs: pausing one DAG or all DAGs that match a filter, and deleting a DAG.

use super::{DagPage, all, find, selected, view};
use crate::api::mask::MaskParams;
use crate::auth::Caller;
use crate::extract::{Actor, DagPath, JsonBody, Query, no_such_dag};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_store::dag::{DeleteDag, by};
use orch_store::import_error::broken_files;
use orch_store::list::ListPage;
use orch_store::locks::Locks;
use orch_wire::body;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

body! {
    pub(crate) struct DAGPatchBody {
        is_paused: bool,
    }
}

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<super::view::DagView>, Refusal> {
    let paused = read(&mut query, body)?;
    let mut db = app.hot().await?;
    let dag = find(&mut db, &dag_id).await?;
    set_paused(&app, &mut db, &actor, &[dag.dag_id], paused).await?;
    let dag = find(&mut db, &dag_id).await?;
    let broken = broken_files(&mut db).await?;
    Ok(Json(view(&app, &mut db, dag, &broken).await?))
}

/// Pauses or unpauses the DAGs that a list with the same filters returns. As in Airflow, a request without a pattern of
/// ids changes no DAG; the pattern `~` selects all.
pub(crate) async fn patch_all(
    State(app): State<App>,
    actor: Actor,
    Extension(caller): Extension<Caller>,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<DagPage>, Refusal> {
    let is_named = ["dag_id_pattern", "dag_id_prefix_pattern"].iter().any(|name| query.text(name).is_some());
    let search = selected(&mut query, &caller)?;
    let search = search.and((!is_named).then(|| by::DAG_ID.never()));
    let paused = read(&mut query, body)?;
    let mut db = app.pages().await?;
    let ListPage { mut rows, total: total_entries } = all(&mut db, &app.versions, &search).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.dag_id.clone()).collect();
    set_paused(&app, &mut db, &actor, &ids, paused).await?;
    let broken = broken_files(&mut db).await?;
    let mut dags = Vec::with_capacity(rows.len());
    for mut row in rows.drain(..) {
        row.is_paused = paused;
        dags.push(view(&app, &mut db, row, &broken).await?);
    }
    Ok(Json(DagPage { dags, total_entries }))
}

pub(crate) async fn delete(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let mut db = app.pages().await?;
    let dag_id = find(&mut db, &dag_id).await?.dag_id;
    delete_of(&mut db, &actor, &dag_id).await?;
    Ok((StatusCode::OK, Json(Value::Null)))
}

pub(crate) async fn delete_of(db: &mut PgConnection, actor: &Actor, dag_id: &str) -> Result<(), Refusal> {
    let mut tx = db.begin().await.map_err(orch_store::StoreError::from)?;
    match orch_deeds::dag::delete(&mut tx, Locks::begin(), actor, dag_id).await? {
        DeleteDag::Deleted { .. } => Ok(tx.commit().await.map_err(orch_store::StoreError::from)?),
        DeleteDag::NoSuchDag => Err(no_such_dag(dag_id)),
        DeleteDag::Running => {
            let text = format!("Task instances of dag with id: '{dag_id}' are still running");
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}

fn read(query: &mut Query, body: JsonBody) -> Result<bool, Refusal> {
    let DAGPatchBody { is_paused } = body.read()?;
    let MaskParams::<DAGPatchBody> { update_mask } = query.take();
    if update_mask.iter().any(|field| field != "is_paused") {
        return Err(Refusal::bad_request("Only `is_paused` field can be updated through the REST API"));
    }
    Ok(is_paused)
}

pub(crate) async fn set_paused(
    app: &Inner,
    db: &mut PgConnection,
    actor: &Actor,
    ids: &[String],
    paused: bool,
) -> Result<(), Refusal> {
    let mut tx = db.begin().await.map_err(orch_store::StoreError::from)?;
    let changed = orch_deeds::dag::set_paused(&mut tx, Locks::begin(), &app.versions, actor, ids, paused).await?;
    tx.commit().await.map_err(orch_store::StoreError::from)?;
    if !paused && !changed.is_empty() {
        orch_deeds::dag::UNPAUSED.into_iter().for_each(|hint| app.hints.give(hint));
    }
    Ok(())
}
