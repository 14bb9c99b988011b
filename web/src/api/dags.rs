//! DAGs: `/api/v2/dags`.

mod change;
mod details;
mod view;

pub(crate) use change::{delete, patch, patch_all};
pub(crate) use details::details;

use super::pages::{Page, orders, pattern};
use crate::extract::{DagPath, Query, no_such_dag};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::Json;
use axum::extract::State;
pub(crate) use details::DagDetails;
use orch_core::ids::DagId;
use orch_store::StoreResult;
use orch_store::dag::{DagFilter, DagRow, count_dags, get_dag, list_dags, resolve};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
pub(crate) use view::DagView;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagPage {
    dags: Vec<DagView>,
    total_entries: i64,
}

/// By id; other orders of Airflow are taken and do not change it yet.
const ORDERS: [&str; 6] = ["dag_id", "dag_display_name", "next_dagrun", "state", "start_date", "last_run_state"];

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<DagPage>, Refusal> {
    let page = Page::of(&mut query);
    let filter = selected(&mut query)?;
    orders(&query, |name| ORDERS.contains(&name).then_some(()))?;
    let mut db = app.pages().await?;
    let (rows, total_entries) = all(&mut db, &filter, page).await?;
    let mut dags = Vec::with_capacity(rows.len());
    for row in rows {
        dags.push(view(&app, &mut db, row).await?);
    }
    Ok(Json(DagPage { dags, total_entries }))
}

/// Which DAGs a query means.
fn selected(query: &mut Query) -> Result<DagFilter, Refusal> {
    let (paused, exclude_stale) = (query.flag("paused"), query.flag("exclude_stale").unwrap_or(true));
    query.finish()?;
    let all = |name| query.all(name).map(String::from).collect();
    Ok(DagFilter {
        name_part: pattern(query, "dag_id_pattern").map(|parts| parts.concat()),
        tags: all("tags"),
        all_tags: query.text("tags_match_mode") == Some("all"),
        owners: all("owners"),
        paused,
        stale: exclude_stale.then_some(false),
        ..DagFilter::default()
    })
}

/// A page of them, and how many there are.
async fn all(db: &mut PgConnection, filter: &DagFilter, page: Page) -> StoreResult<(Vec<DagRow>, i64)> {
    let filter = DagFilter { skip: page.offset, ..filter.clone() };
    let rows = list_dags(db, &filter, page.limit).await?;
    let total = match page.total(rows.len()) {
        Some(total) => total,
        None => count_dags(db, &filter).await?,
    };
    Ok((rows, total))
}

pub(crate) async fn get(State(app): State<App>, DagPath(dag_id): DagPath) -> Result<Json<DagView>, Refusal> {
    let mut db = app.hot().await?;
    let row = find(&mut db, &dag_id).await?;
    Ok(Json(view(&app, &mut db, row).await?))
}

/// A DAG by its id or one of its aliases.
pub(super) async fn find(db: &mut PgConnection, dag_id: &DagId) -> Result<DagRow, Refusal> {
    let mut row = get_dag(db, dag_id).await?;
    if row.is_none()
        && let Some(named) = resolve(db, dag_id).await?
    {
        row = get_dag(db, &named).await?;
    }
    row.ok_or_else(|| no_such_dag(dag_id))
}

async fn view(app: &Inner, db: &mut PgConnection, row: DagRow) -> Result<DagView, Refusal> {
    let version = app.versions.get(db, row.version).await?;
    Ok(DagView::new(row, &version.plan.spec))
}
