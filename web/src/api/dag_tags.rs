//! `GET /api/v2/dagTags`, `GET /api/v2/dagStats` and `GET /api/v2/dagSources/{dag_id}`: tags, run counts and source
//! code of DAGs.

use super::dags::find;
use super::list::asked;
use super::version_history::VersionParams;
use crate::extract::{DagPath, Query, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orch_document::file::{export, is_dag_of_file};
use orch_spec::DagSpec;
use orch_spec::state::RunState;
use orch_store::dag::{TAGS, run_counts_of};
use orch_store::list::ListPage;
use orch_store::version::structure;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TagPage {
    tags: Vec<String>,
    total_entries: i64,
}

query_params! {
    pub(crate) struct StatsParams {
        /// All without it
        dag_ids: Vec<String>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StatsPage {
    dags: Vec<DagStats>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DagStats {
    dag_id: String,
    dag_display_name: String,
    stats: Vec<StateCount>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StateCount {
    #[schemars(with = "String")]
    state: RunState,
    count: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagSource {
    content: Option<String>,
    dag_id: String,
    version_number: Option<i32>,
    dag_display_name: String,
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<TagPage>, Refusal> {
    let search = asked(&mut query, TAGS.columns)?;
    let ListPage { rows: tags, total: total_entries } = TAGS.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(TagPage { tags, total_entries }))
}

/// Counts the runs by state, for all DAGs or for the given ones.
pub(crate) async fn stats(State(app): State<App>, mut query: Query) -> Result<Json<StatsPage>, Refusal> {
    let StatsParams { dag_ids } = query.whole()?;
    let mut db = app.pages().await?;
    let found = run_counts_of(&mut db, (!dag_ids.is_empty()).then_some(&dag_ids)).await?;
    let one = |(dag_id, counts): (String, Vec<orch_store::dag::RunCount>)| {
        let count = |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.count);
        let stats = RunState::ALL.iter().map(|&state| StateCount { state, count: count(state) }).collect();
        DagStats { dag_display_name: dag_id.clone(), dag_id, stats }
    };
    let dags: Vec<DagStats> = found.into_iter().map(one).collect();
    Ok(Json(StatsPage { total_entries: dags.len(), dags }))
}

/// Returns the structure of a DAG as JSON, or the DAG file if the DAG comes from one. The code of other DAGs is
/// compiled into their worker.
pub(crate) async fn source(
    State(app): State<App>,
    DagPath(dag_id): DagPath,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let VersionParams { version_number } = query.whole()?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let as_text = accept.contains("text/plain");
    if !as_text && !["application/json", "*/*", "application/*"].iter().any(|kind| accept.contains(kind)) {
        return Err(Refusal::plain(StatusCode::NOT_ACCEPTABLE, "Only application/json or text/plain is supported"));
    }
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    let number = version_number.unwrap_or(dag.version_number);
    let Some(spec) = structure(&mut db, &dag.dag_id, number).await? else {
        let text = format!("The source code of the DAG {}, version_number {number} was not found", dag.dag_id);
        return Err(Refusal::not_found(text));
    };
    // A DAG that comes from a file is shown as a file.
    let of_file = serde_json::from_value::<DagSpec>(spec.clone()).ok().filter(is_dag_of_file);
    let content = match of_file.and_then(|spec| export(&spec).ok()) {
        Some(text) => text,
        None => serde_json::to_string_pretty(&json!(spec)).map_err(|error| Refusal::Broken(error.to_string()))?,
    };
    if as_text {
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], content).into_response());
    }
    Ok(Json(DagSource {
        content: Some(content),
        dag_display_name: dag.dag_id.clone(),
        dag_id: dag.dag_id,
        version_number: Some(number),
    })
    .into_response())
}
