//! DAG versions: `/api/v2/dags/{dag_id}/dagVersions`, and as answers about runs and instances carry them.

use super::dags::find;
use super::ids::dag_version_uuid;
use super::pages::{Page, orders};
use crate::extract::{Dags, Names, Query, RunsPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use orch_store::version::{VersionFilter, VersionRow, count_versions, list_versions};
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

/// Of one DAG, or of all with `~`.
pub(crate) async fn list(
    State(app): State<App>,
    RunsPath(dags): RunsPath,
    mut query: Query,
) -> Result<Json<DagVersionPage>, Refusal> {
    let page = Page::of(&mut query);
    let number = query.whole_numbers("version_number").last().copied();
    query.finish()?;
    let known = ["id", "version_number", "bundle_name", "bundle_version"];
    let order = orders(&query, |name| known.contains(&name).then_some(()))?;
    if query.text("bundle_version").is_some_and(|version| !version.is_empty()) {
        // Bundles here have none.
        return Ok(Json(DagVersionPage { dag_versions: Vec::new(), total_entries: 0 }));
    }
    let mut db = app.pages().await?;
    let dag_id = match dags {
        Dags::All => None,
        Dags::One(dag_id) => Some(find(&mut db, &dag_id).await?.dag_id),
    };
    let filter = VersionFilter {
        dag_id,
        // A number that no version can have is none's.
        number: number.map(|number| i32::try_from(number).unwrap_or(-1)),
        bundle: query.text("bundle_name").map(String::from),
        newest_first: order.first().is_some_and(|((), descends)| *descends),
    };
    let found = list_versions(&mut db, &filter, (page.offset, page.limit)).await?;
    let total_entries = match page.total(found.len()) {
        Some(total) => total,
        None => count_versions(&mut db, &filter).await?,
    };
    Ok(Json(DagVersionPage { dag_versions: found.iter().map(DagVersionView::of).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<DagVersionView>, Refusal> {
    let (dag_id, number) = (names.dag()?, names.number::<i32>("version_number")?);
    let mut db = app.pages().await?;
    let dag_id = find(&mut db, &dag_id).await?.dag_id;
    let missing = format!("The DagVersion with dag_id: `{dag_id}` and version_number: `{number}` was not found");
    let filter = VersionFilter { dag_id: Some(dag_id), number: Some(number), ..VersionFilter::default() };
    let found = list_versions(&mut db, &filter, (0, 1)).await?.pop();
    found.map(|row| Json(DagVersionView::of(&row))).ok_or_else(|| Refusal::not_found(missing))
}
