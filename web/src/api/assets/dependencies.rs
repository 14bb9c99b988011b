//! `/api/orch/v1/assets/dependencies`: which DAGs produce, read and wait for which assets, and which DAGs start or wait
//! for other DAGs.

use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::asset::{Dependency, dependencies};
use orch_store::dag::{DagDependency, dag_dependencies};
use schemars::JsonSchema;
use serde::Serialize;

/// Maximum number of dependencies in the only page: an incomplete graph is of no use.
const MOST: i64 = 10_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DependencyPage {
    dependencies: Vec<DependencyView>,
    /// How many there are in `dependencies`.
    total_entries: usize,
    /// DAGs that start other DAGs, or wait for their runs.
    dag_dependencies: Vec<DagDependencyView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DependencyView {
    dag_id: String,
    /// `outlet`: the DAG produces it; `inlet`: a task of it reads it; `schedule`: the DAG waits for it.
    role: String,
    /// The name of an asset, or `alias ` with that of an alias.
    asset: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DagDependencyView {
    dag_id: String,
    /// `trigger`: a task of the DAG starts runs of the other; `wait`: a task of it waits for runs of the other.
    role: String,
    other_dag_id: String,
}

impl From<Dependency> for DependencyView {
    fn from(Dependency { role, dag_id, asset }: Dependency) -> Self {
        DependencyView { dag_id, role, asset }
    }
}

impl From<DagDependency> for DagDependencyView {
    fn from(DagDependency { dag_id, role, other }: DagDependency) -> Self {
        DagDependencyView { dag_id, role, other_dag_id: other }
    }
}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<DependencyPage>, Refusal> {
    let mut db = app.pages().await?;
    let found = dependencies(&mut db, MOST).await?;
    let dependencies: Vec<_> = found.into_iter().map(DependencyView::from).collect();
    let found = dag_dependencies(&mut db, MOST).await?;
    let dag_dependencies = found.into_iter().map(DagDependencyView::from).collect();
    Ok(Json(DependencyPage { total_entries: dependencies.len(), dependencies, dag_dependencies }))
}
