//! The attempts of an instance: `…/tries` and `…/tries/{task_try_number}`, and under `/api/orch/v1` with the causes of
//! failures.

use super::{Instance, OfRun, TaskTryView, one_instance};
use crate::extract::path_numbers::{MAP_INDEX, TASK_TRY_NUMBER};
use crate::extract::{Names, Query, no_such_instance, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::state::TaskState;
use orch_store::instance::{TryRow, tries};
use orch_store::note::Notes;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

query_params! {
    pub(crate) struct ElementParams {
        /// Of that element; -1: not mapped
        map_index: Option<i64>,
    }
}

impl ElementParams {
    /// Returns the map index, or -1 for an instance that is not mapped. `None` if the number is out of range.
    pub(in crate::api) fn index(&self) -> Option<i32> {
        i32::try_from(self.map_index.unwrap_or(-1)).ok()
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TryPage {
    task_instances: Vec<TaskTryView>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CausedTryPage {
    tries: Vec<CausedTryView>,
    total_entries: usize,
}

/// A try with what Airflow's has no fields for.
#[derive(Debug, Serialize, JsonSchema)]
struct CausedTryView {
    /// A try that is begun anew keeps its number.
    #[schemars(with = "String")]
    attempt_id: Uuid,
    try_number: i16,
    max_tries: i16,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
    hostname: Option<String>,
    queued_when: Option<Timestamp>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    /// How it failed last: `retryable`, `fatal`, `timeout`, `panic`, `lost` or `exit`.
    failure: Option<String>,
    /// Why, the outermost first.
    causes: Vec<String>,
}

impl From<TryRow> for CausedTryView {
    fn from(one: TryRow) -> Self {
        CausedTryView {
            attempt_id: one.attempt,
            try_number: one.try_no,
            max_tries: one.max_tries,
            state: Some(one.state).filter(|state| *state != TaskState::None),
            hostname: one.hostname,
            queued_when: stamp(one.queued_at),
            start_date: stamp(one.started_at),
            end_date: stamp(one.ended_at),
            failure: one.failure,
            causes: one.causes,
        }
    }
}

pub(crate) async fn list_with_causes(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<CausedTryPage>, Refusal> {
    let (_, tries) = all(&app, &names, &mut query).await?;
    let tries: Vec<_> = tries.into_iter().map(CausedTryView::from).collect();
    Ok(Json(CausedTryPage { total_entries: tries.len(), tries }))
}

pub(crate) async fn list(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<TryPage>, Refusal> {
    let (instance, tries) = all(&app, &names, &mut query).await?;
    let task_instances: Vec<TaskTryView> = tries.into_iter().map(|one| view(&instance, one)).collect();
    Ok(Json(TryPage { total_entries: task_instances.len(), task_instances }))
}

pub(crate) async fn get(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<TaskTryView>, Refusal> {
    let number = names.number(TASK_TRY_NUMBER)?;
    let (instance, tries) = all(&app, &names, &mut query).await?;
    // A restarted attempt has several rows with the same number; the last one counts.
    let found = tries.into_iter().rfind(|one| one.try_no == number);
    found.map(|one| Json(view(&instance, one))).ok_or_else(|| {
        let path = &instance.path;
        Refusal::not_found(format!(
            "The Task Instance with dag_id: `{}`, run_id: `{}`, task_id: `{}`, try_number: `{number}` and map_index: \
            `{}` was not found",
            path.run.dag_id, path.run.run_id, path.task_id, instance.row.map_index
        ))
    })
}

/// Returns the instance in the path. `map_index` is either in the path or in the query.
pub(in crate::api) async fn named(app: &App, names: &Names, query: &mut Query) -> Result<Instance, Refusal> {
    let path = names.task()?;
    let map_index = match names.get("map_index") {
        "" => {
            let element: ElementParams = query.whole()?;
            element.index().ok_or_else(|| no_such_instance(&path.run, &path.task_id, -1))?
        }
        _ => names.number(MAP_INDEX)?,
    };
    one_instance(app, path, map_index).await
}

async fn all(app: &App, names: &Names, query: &mut Query) -> Result<(Instance, Vec<TryRow>), Refusal> {
    let instance = named(app, names, query).await?;
    let mut db = app.pages().await?;
    let found = tries(&mut db, instance.run.id, instance.row.task, instance.row.map_index).await?;
    Ok((instance, found))
}

fn view(instance: &Instance, one: TryRow) -> TaskTryView {
    let notes = Notes::default();
    let of_run = OfRun { run: &instance.run, plan: &instance.version.plan, notes: &notes };
    of_run.try_of(instance.row.task, instance.row.map_index, one)
}
