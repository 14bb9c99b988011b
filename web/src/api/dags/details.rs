//! `GET /api/v2/dags/{dag_id}/details`: all details of a DAG, with its structure.

use super::find;
use super::view::DagView;
use crate::api::assets::expression;
use crate::api::tasks::params;
use crate::api::versions::DagVersionView;
use crate::auth::Caller;
use crate::extract::DagPath;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_spec::{DagSpec, Schedule};
use orch_store::dag::{is_favorite, run_counts};
use orch_store::version::version_of;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DagDetails {
    #[serde(flatten)]
    dag: DagView,
    catchup: bool,
    /// ISO 8601.
    dag_run_timeout: Option<String>,
    asset_expression: Option<Value>,
    doc_md: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    is_paused_upon_creation: Option<bool>,
    params: Option<Map<String, Value>>,
    render_template_as_native_obj: bool,
    template_search_path: Option<Vec<String>>,
    timezone: Option<String>,
    last_parsed: Option<Timestamp>,
    default_args: Option<Map<String, Value>>,
    rerun_with_latest_version: Option<bool>,
    owner_links: Option<Map<String, Value>>,
    is_favorite: bool,
    active_runs_count: i64,
    concurrency: u32,
    latest_dag_version: Option<DagVersionView>,
}

pub(crate) async fn details(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    DagPath(dag_id): DagPath,
) -> Result<Json<DagDetails>, Refusal> {
    let mut db = app.pages().await?;
    let row = find(&mut db, &dag_id).await?;
    let version = app.versions.get(&mut db, row.version).await?;
    let counts = run_counts(&mut db, &row.dag_id).await?;
    let active = counts.iter().filter(|count| !count.state.is_finished()).map(|count| count.count).sum();
    let latest = version_of(&mut db, &row.dag_id, row.version_number).await?;
    let latest = latest.map(|row| DagVersionView::of(&row));
    let spec = &version.plan.spec;
    let is_favorite = is_favorite(&mut db, &caller.name, &row.dag_id).await?;
    let registered_at = row.registered_at;
    let dag = DagView::new(row, spec);
    Ok(Json(DagDetails {
        concurrency: dag.max_active_tasks(),
        dag,
        catchup: spec.catchup,
        dag_run_timeout: spec.run_timeout_ms.map(iso_duration),
        asset_expression: spec.schedule.assets().map(expression),
        doc_md: Some(spec.description.clone()).filter(|words| !words.is_empty()),
        start_date: stamp(spec.start),
        end_date: stamp(spec.end),
        is_paused_upon_creation: spec.paused_at_creation,
        params: Some(params(spec.params_schema.as_ref())),
        render_template_as_native_obj: false,
        template_search_path: None,
        timezone: Some(zone(spec)),
        last_parsed: Some(Timestamp(registered_at)),
        default_args: Some(Map::new()),
        // A run keeps the version it was started with.
        rerun_with_latest_version: Some(false),
        owner_links: Some(Map::new()),
        is_favorite,
        active_runs_count: active,
        latest_dag_version: latest,
    }))
}

fn zone(spec: &DagSpec) -> String {
    match spec.schedule.time() {
        Schedule::Cron { timezone, .. } => timezone.clone(),
        _ => "UTC".into(),
    }
}

/// Formats a duration as ISO 8601, such as `PT3600S`.
fn iso_duration(ms: u64) -> String {
    match ms % 1000 {
        0 => format!("PT{}S", ms / 1000),
        rest => format!("PT{}.{rest:03}S", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_iso_8601() {
        assert_eq!(iso_duration(3_600_000), "PT3600S");
        assert_eq!(iso_duration(1_050), "PT1.050S");
    }
}
