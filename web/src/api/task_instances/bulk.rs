//! `PATCH …/taskInstances`: many task instances marked or written on by one request.

use super::mark::{carry_out, tell, wish};
use super::meant::{Target, Wish, meant};
use crate::api::bulk::{BulkResponse, Kind, Part, Request, actions, named, one_by_one};
use crate::extract::{Actor, JsonBody, Names, RunPath, no_such_instance};
use crate::guard::MayDelete;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_spec::ids::TaskId;
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
    let of = Request { app: &app, actor: &actor, names: &names };
    let answer = one_by_one(&of, may_delete, &actions).await?;
    tell(&app);
    Ok(Json(answer))
}

impl Part for Entity {
    async fn change(&self, of: &Request<'_>, db: &mut PgConnection, _: Kind) -> Result<String, Refusal> {
        let Some(wish) = &self.wish else {
            let text = "task instances come and go with their run: clear them, or delete the run";
            return Err(Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, text));
        };
        let dag_id = named("dag_id", of.names.get("dag_id"), self.dag_id.as_deref())?;
        let run_id = named("dag_run_id", of.names.get("dag_run_id"), self.run_id.as_deref())?;
        let (path, index) = (RunPath::of(&dag_id, &run_id)?, self.map_index);
        let task_id = TaskId::new(self.task_id.as_str());
        let task_id = task_id.map_err(|_| no_such_instance(&path, &self.task_id, index.unwrap_or(-1)))?;
        let meant = meant(of.app, db, (&path, &Target::Task(task_id, index)), wish).await?;
        let mut tx = db.begin().await.map_err(StoreError::from)?;
        carry_out(of.app, &mut tx, of.actor, &meant, wish).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(format!("{dag_id}.{run_id}.{}[{}]", self.task_id, index.unwrap_or(-1)))
    }
}
