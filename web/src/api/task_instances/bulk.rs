//! `PATCH …/taskInstances`: many task instances marked or written on by one request.

use super::mark::{carry_out, tell, wish};
use super::meant::{Target, Wish, meant};
use crate::api::bulk::{BulkResponse, Kind, actions, may, named};
use crate::extract::{Actor, JsonBody, Names, RunPath, no_such_instance, no_such_run};
use crate::guard::MayDelete;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_core::ids::{DagId, RunId, TaskId};
use orch_store::StoreError;
use sqlx::{Connection, PgConnection};

struct Entity {
    dag_id: Option<String>,
    run_id: Option<String>,
    task_id: String,
    map_index: Option<i32>,
    /// Nothing is wished of what is deleted.
    wish: Option<Wish>,
}

pub(crate) async fn bulk(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    names: Names,
    body: JsonBody,
) -> Result<Json<BulkResponse>, Refusal> {
    names.dags()?;
    let actions = actions(body.fields(), "task_id", |fields, kind, mask| Entity {
        dag_id: fields.text("dag_id"),
        run_id: fields.text("dag_run_id"),
        task_id: fields.required_text("task_id"),
        map_index: fields.whole("map_index"),
        wish: match kind {
            Kind::Update => Some(wish(fields, mask)),
            Kind::Create | Kind::Delete => {
                fields.text("new_state");
                fields.note();
                for name in ["include_upstream", "include_downstream", "include_future", "include_past"] {
                    fields.flag(name);
                }
                None
            }
        },
    })?;
    may(may_delete, &actions)?;
    let mut db = app.pages().await?;
    let mut answer = BulkResponse::default();
    for action in &actions {
        answer.begin(action);
        for entity in &action.entities {
            let done = change(&app, &mut db, &actor, &names, entity).await;
            answer.note(action, done)?;
        }
    }
    tell(&app);
    Ok(Json(answer))
}

/// The key of the instance that was changed.
async fn change(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    names: &Names,
    entity: &Entity,
) -> Result<String, Refusal> {
    let Some(wish) = &entity.wish else {
        let text = "task instances come and go with their run: clear them, or delete the run";
        return Err(Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, text));
    };
    let dag_id = named("dag_id", names.get("dag_id"), entity.dag_id.as_deref())?;
    let run_id = named("dag_run_id", names.get("dag_run_id"), entity.run_id.as_deref())?;
    let path = match (DagId::new(dag_id.as_str()), RunId::new(run_id.as_str())) {
        (Ok(dag_id), Ok(run_id)) => RunPath { dag_id, run_id },
        _ => return Err(no_such_run(&dag_id, &run_id)),
    };
    let index = entity.map_index;
    let task_id = TaskId::new(entity.task_id.as_str());
    let task_id = task_id.map_err(|_| no_such_instance(&path, &entity.task_id, index.unwrap_or(-1)))?;
    let meant = meant(app, db, (&path, &Target::Task(task_id, index)), wish).await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    carry_out(app, &mut tx, actor, &meant, wish).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(format!("{dag_id}.{run_id}.{}[{}]", entity.task_id, index.unwrap_or(-1)))
}
