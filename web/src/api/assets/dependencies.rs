//! `/api/orch/v1/assets/dependencies`: which DAGs produce which assets, read them and wait for them.

use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::asset::{Dependency, dependencies};
use schemars::JsonSchema;
use serde::Serialize;

/// In the one answer: a graph is of no use in parts.
const MOST: i64 = 10_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DependencyPage {
    dependencies: Vec<DependencyView>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DependencyView {
    dag_id: String,
    /// `outlet`: the DAG produces it; `inlet`: a task of it reads it; `schedule`: the DAG waits for it.
    role: String,
    /// The name of an asset, or `alias ` with that of an alias.
    asset: String,
}

impl From<Dependency> for DependencyView {
    fn from(Dependency { role, dag_id, asset }: Dependency) -> Self {
        DependencyView { dag_id, role, asset }
    }
}

pub(crate) async fn list(State(app): State<App>) -> Result<Json<DependencyPage>, Refusal> {
    let found = dependencies(&mut *app.pages().await?, MOST).await?;
    let dependencies: Vec<_> = found.into_iter().map(DependencyView::from).collect();
    Ok(Json(DependencyPage { total_entries: dependencies.len(), dependencies }))
}
