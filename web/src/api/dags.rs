//! DAGs: `/api/v2/dags`.

mod change;
mod details;
mod favorite;
mod view;

pub(crate) use change::{DAGPatchBody, delete, delete_of, patch, patch_all, set_paused};
pub(crate) use details::details;
pub(crate) use favorite::{favorite, unfavorite};

use super::list::asked;
use crate::auth::Caller;
use crate::extract::{DagPath, Query, no_such_dag, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::extract::State;
use axum::{Extension, Json};
pub(crate) use details::DagDetails;
use orch_spec::ids::DagId;
use orch_store::StoreResult;
use orch_store::dag::{DAGS, DagRow, by, get_dag, resolve};
use orch_store::import_error::broken_files;
use orch_store::list::{ListPage, Search};
use orch_store::version::Versions;
use orch_wire::Problem;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use std::collections::HashSet;
pub(crate) use view::DagView;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagPage {
    dags: Vec<DagView>,
    total_entries: i64,
}

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<DagPage>, Refusal> {
    let search = selected(&mut query, &caller)?;
    let mut db = app.pages().await?;
    let ListPage { rows, total: total_entries } = all(&mut db, &app.versions, &search).await?;
    let broken = broken_files(&mut db).await?;
    let mut dags = Vec::with_capacity(rows.len());
    for row in rows {
        dags.push(view(&app, &mut db, row, &broken).await?);
    }
    Ok(Json(DagPage { dags, total_entries }))
}

const TAGS_MODES: &[&str] = &["any", "all"];

query_params! {
    /// Query parameters of the list of DAGs, in addition to its columns.
    pub(crate) struct DagsParams {
        /// With these tags
        tags: Vec<String>,
        /// One of the tags, or all
        tags_match_mode: Option<String> as QueryParamType::Word(TAGS_MODES),
        /// The caller's favorites, or all others
        is_favorite: Option<bool>,
    }
}

/// Returns the filters and the sort order of a query.
fn selected(query: &mut Query, caller: &Caller) -> Result<Search, Refusal> {
    let DagsParams { tags, tags_match_mode, is_favorite } = query.take();
    let search = asked(query, DAGS.columns)?;
    let mode = tags_match_mode.as_deref().unwrap_or(TAGS_MODES[0]);
    if !TAGS_MODES.contains(&mode) {
        let problem = Problem::new("literal_error", "Input should be 'any' or 'all'");
        return Err(problem.at(["query", "tags_match_mode"]).with_input(&json!(mode)).into());
    }
    let column = if mode == "all" { by::ALL_TAGS } else { by::TAGS };
    let of_caller = |is: bool| if is { by::FAVORITE_OF } else { by::NOT_FAVORITE_OF }.is(&*caller.name);
    Ok(search.and((!tags.is_empty()).then(|| column.any_of(tags))).and(is_favorite.map(of_caller)))
}

/// Returns a page of DAGs and caches their versions.
async fn all(db: &mut PgConnection, versions: &Versions, search: &Search) -> StoreResult<ListPage<DagRow>> {
    let found = DAGS.find(db, search).await?;
    versions.warm(db, &found.rows.iter().map(|row| row.version).collect::<Vec<_>>()).await?;
    Ok(found)
}

pub(crate) async fn get(State(app): State<App>, DagPath(dag_id): DagPath) -> Result<Json<DagView>, Refusal> {
    let mut db = app.hot().await?;
    let row = find(&mut db, &dag_id).await?;
    let broken = broken_files(&mut db).await?;
    Ok(Json(view(&app, &mut db, row, &broken).await?))
}

/// Returns a DAG by its id or one of its aliases.
pub(super) async fn find(db: &mut PgConnection, dag_id: &DagId) -> Result<DagRow, Refusal> {
    let mut row = get_dag(db, dag_id).await?;
    if row.is_none()
        && let Some(named) = resolve(db, dag_id).await?
    {
        row = get_dag(db, &named).await?;
    }
    row.ok_or_else(|| no_such_dag(dag_id))
}

async fn view(
    app: &Inner,
    db: &mut PgConnection,
    row: DagRow,
    broken: &HashSet<(String, String)>,
) -> Result<DagView, Refusal> {
    let version = app.versions.get(db, row.version).await?;
    let is_broken = broken.contains(&(row.bundle.clone(), row.file.clone()));
    Ok(DagView::new(row, &version.plan.spec).with_import_errors(is_broken))
}
