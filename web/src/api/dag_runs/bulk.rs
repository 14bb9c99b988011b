//! `PATCH /api/v2/dags/{dag_id}/dagRuns`: changes or deletes several runs in one request.

use super::change::{DAGRunPatchBody, remove};
use super::find;
use crate::api::bulk::{BulkActionType, Changed, Entity, Request, named};
use crate::extract::RunPath;
use crate::refusal::Refusal;
use axum::http::StatusCode;
use orch_store::StoreError;
use orch_store::locks::Locks;
use orch_wire::{Problem, body};
use sqlx::{Connection, PgConnection};
use std::borrow::Cow;

body! {
    pub(crate) struct RunEntity {
        dag_run_id: String,
        dag_id: Option<String>,
        ..change: DAGRunPatchBody,
    }
}

impl Entity for RunEntity {
    const ID: &'static str = "dag_run_id";
    type Create = RunEntity;
    type Update = RunEntity;
    type Delete = RunEntity;

    fn body_name() -> Cow<'static, str> {
        "BulkDAGRunsBody".into()
    }

    fn updated(update: RunEntity, mask: &[String]) -> Result<RunEntity, Problem> {
        Ok(RunEntity { change: update.change.masked(mask), ..update })
    }
}

impl Changed for RunEntity {
    async fn change(&self, of: &Request<'_>, db: &mut PgConnection, kind: BulkActionType) -> Result<String, Refusal> {
        if kind == BulkActionType::Create {
            let text = "runs are not created in bulk: trigger them one by one";
            return Err(Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        let path = path(of.names.get("dag_id"), self.dag_id.as_deref(), &self.dag_run_id)?;
        let run = find(db, &path).await?;
        if kind == BulkActionType::Delete {
            remove(of.app, db, of.actor, &run).await?;
        } else {
            let mut tx = db.begin().await.map_err(StoreError::from)?;
            self.change.carry_out(of.app, &mut tx, Locks::begin(), of.actor, &run).await?;
            tx.commit().await.map_err(StoreError::from)?;
        }
        Ok(format!("{}.{}", run.dag_id, run.run_id))
    }
}

/// Returns the path of the run that an entity refers to.
pub(super) fn path(dag_of_path: &str, dag_id: Option<&str>, run_id: &str) -> Result<RunPath, Refusal> {
    RunPath::of(&named("dag_id", dag_of_path, dag_id)?, run_id)
}
