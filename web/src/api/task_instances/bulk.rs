//! `PATCH …/taskInstances`: marks or annotates several task instances in one request.

use super::mark::{PatchTaskInstanceBody, Reach, carry_out};
use super::meant::{Target, TaskInstancePatch, meant};
use crate::api::bulk::{BulkActionType, Changed, Entity, Request, named};
use crate::extract::{RunPath, no_such_instance};
use crate::refusal::Refusal;
use axum::http::StatusCode;
use orch_spec::ids::TaskId;
use orch_store::StoreError;
use orch_store::locks::Locks;
use orch_wire::body::NoteText;
use orch_wire::{Problem, body};
use sqlx::{Connection, PgConnection};
use std::borrow::Cow;

body! {
    /// Identifies a task instance.
    pub(crate) struct Place {
        task_id: String,
        map_index: Option<i32>,
        dag_id: Option<String>,
        dag_run_id: Option<String>,
    }
}

body! {
    pub(crate) struct BulkTaskInstanceUpdate {
        ..place: Place,
        ..change: PatchTaskInstanceBody,
    }
}

body! {
    /// When an entity is created or deleted, only its identifying fields are used.
    pub(crate) struct BulkTaskInstanceBody {
        new_state: Option<String>,
        note: Option<NoteText>,
        ..place: Place,
        ..reach: Reach,
    }
}

pub(crate) struct InstanceEntity {
    place: Place,
    /// `None` if the instance is created or deleted.
    wish: Option<TaskInstancePatch>,
}

impl From<BulkTaskInstanceBody> for InstanceEntity {
    fn from(body: BulkTaskInstanceBody) -> InstanceEntity {
        InstanceEntity { place: body.place, wish: None }
    }
}

impl Entity for InstanceEntity {
    const ID: &'static str = "task_id";
    type Create = BulkTaskInstanceBody;
    type Update = BulkTaskInstanceUpdate;
    type Delete = BulkTaskInstanceBody;

    fn body_name() -> Cow<'static, str> {
        "BulkTaskInstancesBody".into()
    }

    fn updated(update: BulkTaskInstanceUpdate, mask: &[String]) -> Result<InstanceEntity, Problem> {
        Ok(InstanceEntity { place: update.place, wish: Some(update.change.wish(mask)?) })
    }
}

impl Changed for InstanceEntity {
    async fn change(&self, of: &Request<'_>, db: &mut PgConnection, _: BulkActionType) -> Result<String, Refusal> {
        let place = &self.place;
        let Some(wish) = &self.wish else {
            let text = "task instances come and go with their run: clear them, or delete the run";
            return Err(Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, text));
        };
        let dag_id = named("dag_id", of.names.get("dag_id"), place.dag_id.as_deref())?;
        let run_id = named("dag_run_id", of.names.get("dag_run_id"), place.dag_run_id.as_deref())?;
        let (path, index) = (RunPath::of(&dag_id, &run_id)?, place.map_index);
        let task_id = TaskId::new(place.task_id.as_str());
        let task_id = task_id.map_err(|_| no_such_instance(&path, &place.task_id, index.unwrap_or(-1)))?;
        let meant = meant(of.app, db, (&path, &Target::Task(task_id, index)), wish).await?;
        let mut tx = db.begin().await.map_err(StoreError::from)?;
        carry_out(of.app, &mut tx, Locks::begin(), of.actor, &meant, wish).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(format!("{dag_id}.{run_id}.{}[{}]", place.task_id, index.unwrap_or(-1)))
    }
}
