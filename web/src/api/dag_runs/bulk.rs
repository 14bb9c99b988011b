//! `PATCH /api/v2/dags/{dag_id}/dagRuns`: many runs changed or deleted by one request.

use super::change::{Change, remove, tell};
use super::find;
use crate::api::bulk::{BulkResponse, Kind, actions, may, named};
use crate::extract::{Actor, JsonBody, Names, RunPath, no_such_run};
use crate::guard::MayDelete;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_core::ids::{DagId, RunId};
use orch_store::StoreError;
use sqlx::{Connection, PgConnection};

struct Entity {
    dag_id: Option<String>,
    run_id: String,
    change: Change,
}

pub(crate) async fn bulk(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    names: Names,
    body: JsonBody,
) -> Result<Json<BulkResponse>, Refusal> {
    names.dags()?;
    let actions = actions(body.fields(), "dag_run_id", |fields, _, mask| Entity {
        dag_id: fields.text("dag_id"),
        run_id: fields.required_text("dag_run_id"),
        change: Change::read(fields, mask),
    })?;
    may(may_delete, &actions)?;
    let mut db = app.pages().await?;
    let mut answer = BulkResponse::default();
    for action in &actions {
        answer.begin(action);
        for entity in &action.entities {
            let done = carry_out(&app, &mut db, &actor, names.get("dag_id"), action.kind, entity).await;
            answer.note(action, done)?;
        }
    }
    tell(&app);
    Ok(Json(answer))
}

/// The key of the run that was changed.
async fn carry_out(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    dag_of_path: &str,
    kind: Kind,
    entity: &Entity,
) -> Result<String, Refusal> {
    if kind == Kind::Create {
        let text = "runs are not created in bulk: trigger them one by one";
        return Err(Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    let path = path(dag_of_path, entity.dag_id.as_deref(), &entity.run_id)?;
    let run = find(db, &path).await?;
    if kind == Kind::Delete {
        remove(db, actor, &run).await?;
    } else {
        let mut tx = db.begin().await.map_err(StoreError::from)?;
        entity.change.carry_out(app, &mut tx, actor, &run).await?;
        tx.commit().await.map_err(StoreError::from)?;
    }
    Ok(format!("{}.{}", run.dag_id, run.run_id))
}

/// The run that an entity under this path means.
pub(super) fn path(dag_of_path: &str, dag_id: Option<&str>, run_id: &str) -> Result<RunPath, Refusal> {
    let dag_id = named("dag_id", dag_of_path, dag_id)?;
    match (DagId::new(dag_id.as_str()), RunId::new(run_id)) {
        (Ok(dag_id), Ok(run_id)) => Ok(RunPath { dag_id, run_id }),
        _ => Err(no_such_run(&dag_id, run_id)),
    }
}
