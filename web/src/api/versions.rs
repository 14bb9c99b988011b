//! DAG versions: `/api/v2/dags/{dag_id}/dagVersions`, and their shape in responses about runs and instances.

use super::dags::find;
use super::ids::dag_version_uuid;
use super::list::asked;
use crate::extract::path_numbers::VERSION_NUMBER;
use crate::extract::{Dags, Names, Query, RunsPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use orch_store::list::ListPage;
use orch_store::version::{VERSIONS, VersionRow, by, version_of};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DagVersionView {
    #[schemars(with = "String")]
    id: Uuid,
    version_number: i32,
    dag_id: String,
    bundle_name: Option<String>,
    bundle_version: Option<String>,
    created_at: Timestamp,
    dag_display_name: String,
    bundle_url: Option<String>,
}

impl DagVersionView {
    pub(super) fn of(row: &VersionRow) -> DagVersionView {
        DagVersionView::new(row.id, row.number, &row.dag_id, &row.bundle, row.created_at)
    }

    pub(super) fn new(id: i32, number: i32, dag_id: &str, bundle: &str, created_at: DateTime<Utc>) -> DagVersionView {
        DagVersionView {
            id: dag_version_uuid(id),
            version_number: number,
            dag_id: dag_id.into(),
            bundle_name: Some(bundle.into()),
            bundle_version: None,
            created_at: Timestamp(created_at),
            dag_display_name: dag_id.into(),
            bundle_url: None,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagVersionPage {
    dag_versions: Vec<DagVersionView>,
    total_entries: i64,
}

/// Lists the versions of one DAG, or of all DAGs with `~`.
pub(crate) async fn list(
    State(app): State<App>,
    RunsPath(dags): RunsPath,
    mut query: Query,
) -> Result<Json<DagVersionPage>, Refusal> {
    let mut search = asked(&mut query, VERSIONS.columns)?;
    let mut db = app.pages().await?;
    if let Dags::One(dag_id) = dags {
        search = search.and(by::DAG_ID.is(find(&mut db, &dag_id).await?.dag_id));
    }
    let ListPage { rows: found, total: total_entries } = VERSIONS.find(&mut db, &search).await?;
    Ok(Json(DagVersionPage { dag_versions: found.iter().map(DagVersionView::of).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<DagVersionView>, Refusal> {
    let (dag_id, number) = (names.dag()?, names.number(VERSION_NUMBER)?);
    let mut db = app.pages().await?;
    let dag_id = find(&mut db, &dag_id).await?.dag_id;
    let missing = format!("The DagVersion with dag_id: `{dag_id}` and version_number: `{number}` was not found");
    let found = version_of(&mut db, &dag_id, number).await?;
    found.map(|row| Json(DagVersionView::of(&row))).ok_or_else(|| Refusal::not_found(missing))
}
