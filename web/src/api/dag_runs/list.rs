//! `GET /api/v2/dags/{dag_id}/dagRuns`: lists runs with Airflow's filters, sort orders and pagination.

use super::view::DagRunView;
use crate::api::list::{Page, asked_of_page};
use crate::extract::{Dags, Query, RunsPath};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::list::{ListPage, Search};
use orch_store::run::{RUNS, by};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagRunPage {
    dag_runs: Vec<DagRunView>,
    total_entries: i64,
    total_entries_limit: Option<i64>,
    next_cursor: Option<String>,
    previous_cursor: Option<String>,
}

impl DagRunPage {
    /// Returns a page that contains all entries.
    pub(super) fn whole(dag_runs: Vec<DagRunView>) -> DagRunPage {
        let total_entries = dag_runs.len() as i64;
        DagRunPage { dag_runs, total_entries, total_entries_limit: None, next_cursor: None, previous_cursor: None }
    }
}

pub(crate) async fn list(
    State(app): State<App>,
    RunsPath(dags): RunsPath,
    mut query: Query,
) -> Result<Json<DagRunPage>, Refusal> {
    let page = Page::with_cursor(&mut query)?;
    let search = asked_of_page(&mut query, RUNS.columns, page)?;
    page_of(&app, dags, search, page).await.map(Json)
}

pub(super) async fn page_of(app: &App, dags: Dags, search: Search, page: Page) -> Result<DagRunPage, Refusal> {
    let mut db = app.pages().await?;
    let of_dag = match dags {
        Dags::All => None,
        Dags::One(dag_id) => Some(by::DAG_ID.is(crate::api::dags::find(&mut db, &dag_id).await?.dag_id)),
    };
    let ListPage { rows, total: total_entries } = RUNS.find(&mut db, &search.and(of_dag)).await?;
    let dag_runs = rows.into_iter().map(DagRunView::from).collect();
    let (next_cursor, previous_cursor) = page.cursors(total_entries);
    Ok(DagRunPage { dag_runs, total_entries, total_entries_limit: None, next_cursor, previous_cursor })
}
