//! `GET /api/v2/monitor/health` and `GET /api/v2/version`.

use crate::health::{Database, Findings};
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// `null` stands for what never was. Nothing here is a triggerer or a DAG processor of its own: schedulers and workers do what
/// those do.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct HealthInfo {
    metadatabase: DatabaseStatus,
    scheduler: SchedulerStatus,
    triggerer: TriggererStatus,
    dag_processor: DagProcessorStatus,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DatabaseStatus {
    status: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SchedulerStatus {
    status: Option<&'static str>,
    latest_scheduler_heartbeat: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct TriggererStatus {
    status: Option<&'static str>,
    latest_triggerer_heartbeat: Option<Timestamp>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct DagProcessorStatus {
    status: Option<&'static str>,
    latest_dag_processor_heartbeat: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VersionInfo {
    version: &'static str,
    git_version: Option<&'static str>,
}

/// Returns the health of the components. The status is always 200, as in Airflow.
pub(crate) async fn health(State(app): State<App>) -> Json<HealthInfo> {
    let findings = Findings::get(&app).await;
    let word = |healthy: bool| if healthy { "healthy" } else { "unhealthy" };
    let scheduler = findings.scheduler.as_ref();
    Json(HealthInfo {
        metadatabase: DatabaseStatus { status: word(matches!(findings.database, Database::Fits { .. })) },
        scheduler: SchedulerStatus {
            status: scheduler.map(|scheduler| word(scheduler.is_healthy())),
            latest_scheduler_heartbeat: scheduler.map(|scheduler| Timestamp(scheduler.heartbeat_at)),
        },
        triggerer: TriggererStatus::default(),
        dag_processor: DagProcessorStatus::default(),
    })
}

/// Returns the version of orch, not of Airflow.
pub(crate) async fn version() -> Json<VersionInfo> {
    Json(VersionInfo { version: env!("CARGO_PKG_VERSION"), git_version: None })
}
