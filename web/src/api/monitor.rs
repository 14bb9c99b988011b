//! `GET /api/v2/monitor/health` and `GET /api/v2/version`.

use crate::health::{Database, Findings};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_wire::timestamp::Timestamp;
use serde_json::{Value, json};

/// Always 200, as in Airflow; `null` stands for what never was. Nothing here is a triggerer or a DAG processor of its
/// own: schedulers and workers do what those do.
pub(crate) async fn health(State(app): State<App>) -> Json<Value> {
    let findings = Findings::get(&app).await;
    let word = |healthy: bool| if healthy { "healthy" } else { "unhealthy" };
    let database = word(matches!(findings.database, Database::Fits { .. }));
    let scheduler = findings.scheduler.as_ref().map(|scheduler| word(scheduler.is_healthy()));
    let heartbeat = findings.scheduler.as_ref().map(|scheduler| Timestamp(scheduler.heartbeat_at));
    Json(json!({
        "metadatabase": { "status": database },
        "scheduler": { "status": scheduler, "latest_scheduler_heartbeat": heartbeat },
        "triggerer": { "status": null, "latest_triggerer_heartbeat": null },
        "dag_processor": { "status": null, "latest_dag_processor_heartbeat": null },
    }))
}

/// This orch's own version.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "git_version": null }))
}
