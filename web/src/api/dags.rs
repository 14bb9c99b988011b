//! DAGs: `/api/v2/dags`.

mod view;

use super::pages::{Page, orders, pattern};
use crate::extract::{DagPath, Query, no_such_dag};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use axum::Json;
use axum::extract::State;
use orch_store::dag::{DagFilter, DagRow, count_dags, get_dag, list_dags, resolve};
use serde::Serialize;
use sqlx::PgConnection;
use view::DagView;

#[derive(Debug, Serialize)]
pub(crate) struct DagPage {
    dags: Vec<DagView>,
    total_entries: i64,
}

/// By id; other orders of Airflow are taken and do not change it yet.
const ORDERS: [&str; 6] = ["dag_id", "dag_display_name", "next_dagrun", "state", "start_date", "last_run_state"];

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<DagPage>, Refusal> {
    let page = Page::of(&mut query);
    let (paused, exclude_stale) = (query.flag("paused"), query.flag("exclude_stale").unwrap_or(true));
    query.finish()?;
    orders(&query, |name| ORDERS.contains(&name).then_some(()))?;
    let all = |name| query.all(name).map(String::from).collect();
    let filter = DagFilter {
        name_part: pattern(&query, "dag_id_pattern").map(|parts| parts.concat()),
        tags: all("tags"),
        all_tags: query.text("tags_match_mode") == Some("all"),
        owners: all("owners"),
        paused,
        stale: exclude_stale.then_some(false),
        skip: page.offset,
        ..DagFilter::default()
    };
    let mut db = app.pages().await?;
    let rows = list_dags(&mut db, &filter, page.limit).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_dags(&mut db, &filter).await?,
    };
    let mut dags = Vec::with_capacity(rows.len());
    for row in rows {
        dags.push(view(&app, &mut db, row).await?);
    }
    Ok(Json(DagPage { dags, total_entries }))
}

pub(crate) async fn get(State(app): State<App>, DagPath(dag_id): DagPath) -> Result<Json<DagView>, Refusal> {
    let mut db = app.hot().await?;
    let mut row = get_dag(&mut db, &dag_id).await?;
    if row.is_none()
        && let Some(named) = resolve(&mut db, &dag_id).await?
    {
        row = get_dag(&mut db, &named).await?;
    }
    let row = row.ok_or_else(|| no_such_dag(&dag_id))?;
    Ok(Json(view(&app, &mut db, row).await?))
}

async fn view(app: &Inner, db: &mut PgConnection, row: DagRow) -> Result<DagView, Refusal> {
    let version = app.versions.get(db, row.version).await?;
    Ok(DagView::new(row, &version.plan.spec))
}
