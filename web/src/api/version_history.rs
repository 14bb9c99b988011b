//! `/api/orch/v1/dags/{dag_id}/versions` and `…/diff`: version history and differences, which Airflow's API does not
//! have.

use super::dags::find;
use crate::extract::{DagPath, ParamType, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_document::diff::{Diff, FieldChange};
use orch_store::list::Search;
use orch_store::version::{VERSIONS, VersionRow, by, runs_by_version, spec_of, workers_by_version};
use orch_wire::Problem;
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

query_params! {
    pub(crate) struct DiffParams {
        /// A version's number; that before `to` without it
        from: VersionNumber,
        /// A version's number; the newest without it
        to: VersionNumber,
    }
}

query_params! {
    pub(crate) struct VersionParams {
        /// Of that version; of the newest without it
        version_number: VersionNumber,
    }
}

/// Optional parameter: the number of a version.
pub(crate) struct VersionNumber;

impl ParamType for VersionNumber {
    type Value = Option<i32>;

    fn kind() -> QueryParamType {
        QueryParamType::Small
    }

    fn read(query: &mut Query, name: &'static str) -> Option<i32> {
        let number = i32::try_from(query.whole_numbers(name).pop()?).ok();
        if number.is_none() {
            query.refuse(Problem::value("no version has that number").at(["query", name]));
        }
        number
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VersionPage {
    versions: Vec<VersionView>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct VersionView {
    number: i32,
    /// Of the structure.
    hash: String,
    bundle_name: String,
    created_at: Timestamp,
    /// Of the newest 10,000 runs of the DAG.
    runs: i64,
    /// Names of living workers that offer it.
    workers: Vec<String>,
    /// New runs have it.
    is_newest: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiffView {
    from: i32,
    to: i32,
    summary: String,
    tasks_added: Vec<String>,
    tasks_removed: Vec<String>,
    tasks_changed: Vec<TaskChangeView>,
    edges_added: Vec<EdgeView>,
    edges_removed: Vec<EdgeView>,
    /// Schedule, params, limits and all else that is the DAG's own.
    dag: Vec<FieldView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TaskChangeView {
    task_id: String,
    fields: Vec<FieldView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FieldView {
    field: String,
    before: Value,
    after: Value,
}

#[derive(Debug, Serialize, JsonSchema)]
struct EdgeView {
    from: String,
    to: String,
}

pub(crate) async fn list(State(app): State<App>, DagPath(dag_id): DagPath) -> Result<Json<VersionPage>, Refusal> {
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    let search = Search::default().and(by::DAG_ID.is(&dag.dag_id)).by(by::ID.descending());
    let found = VERSIONS.rows(&mut db, &search).await?;
    let runs = runs_by_version(&mut db, &dag.dag_id).await?;
    let ids: Vec<i32> = found.iter().map(|version| version.id).collect();
    let mut workers = workers_by_version(&mut db, &ids).await?;
    let view = |VersionRow { id, number, hash, bundle, created_at, .. }| VersionView {
        number,
        hash,
        bundle_name: bundle,
        created_at: Timestamp(created_at),
        runs: runs.get(&id).copied().unwrap_or(0),
        workers: workers.remove(&id).unwrap_or_default(),
        is_newest: number == dag.version_number,
    };
    let versions: Vec<VersionView> = found.into_iter().map(view).collect();
    Ok(Json(VersionPage { total_entries: versions.len(), versions }))
}

pub(crate) async fn diff(
    State(app): State<App>,
    DagPath(dag_id): DagPath,
    mut query: Query,
) -> Result<Json<DiffView>, Refusal> {
    let DiffParams { from, to } = query.whole()?;
    let mut db = app.pages().await?;
    let dag = find(&mut db, &dag_id).await?;
    let to = to.unwrap_or(dag.version_number);
    let from = from.unwrap_or(to.saturating_sub(1).max(1));
    let diff = between(&mut db, &dag.dag_id, (from, to)).await?;
    Ok(Json(DiffView::new(from, to, diff)))
}

pub(super) fn no_such_version(dag_id: &str, number: i32) -> Refusal {
    Refusal::not_found(format!("`{dag_id}` has no version {number}"))
}

pub(crate) async fn between(db: &mut PgConnection, dag_id: &str, (from, to): (i32, i32)) -> Result<Diff, Refusal> {
    let missing = |number| no_such_version(dag_id, number);
    let before = spec_of(db, dag_id, from).await?.ok_or_else(|| missing(from))?;
    let after = spec_of(db, dag_id, to).await?.ok_or_else(|| missing(to))?;
    Ok(Diff::between(&before, &after))
}

impl DiffView {
    fn new(from: i32, to: i32, diff: Diff) -> DiffView {
        let summary = diff.summary();
        let edges = |edges: Vec<orch_document::diff::Edge>| {
            edges.into_iter().map(|edge| EdgeView { from: edge.from, to: edge.to }).collect()
        };
        let fields = |fields: Vec<FieldChange>| {
            let view = |FieldChange { field, before, after }| FieldView { field, before, after };
            fields.into_iter().map(view).collect::<Vec<_>>()
        };
        let changed = diff.changed.into_iter();
        DiffView {
            from,
            to,
            summary,
            tasks_added: diff.added,
            tasks_removed: diff.removed,
            tasks_changed: changed
                .map(|task| TaskChangeView { task_id: task.task_id, fields: fields(task.fields) })
                .collect(),
            edges_added: edges(diff.edges_added),
            edges_removed: edges(diff.edges_removed),
            dag: fields(diff.dag),
        }
    }
}
