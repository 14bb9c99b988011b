//! `/api/v2/eventLogs`: the audit log.

use super::list::asked;
use crate::auth::{Caller, Role};
use crate::extract::path_numbers::EVENT_LOG_ID;
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_store::audit::{AUDIT, AuditRow, by};
use orch_store::list::{ListPage, Search};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventLogPage {
    event_logs: Vec<EventLogView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventLogView {
    event_log_id: i64,
    when: Timestamp,
    dag_id: Option<String>,
    task_id: Option<String>,
    run_id: Option<String>,
    map_index: Option<i32>,
    try_number: Option<i32>,
    event: String,
    logical_date: Option<Timestamp>,
    owner: Option<String>,
    /// JSON in a text, as in Airflow.
    extra: Option<String>,
    dag_display_name: Option<String>,
    task_display_name: Option<String>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<EventLogPage>, Refusal> {
    let search = asked(&mut query, AUDIT.columns)?;
    let ListPage { rows, total: total_entries } = AUDIT.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(EventLogPage { event_logs: rows.into_iter().map(|row| view(row, &caller)).collect(), total_entries }))
}

pub(crate) async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
) -> Result<Json<EventLogView>, Refusal> {
    let id = names.number(EVENT_LOG_ID)?;
    let mut db = app.hot().await?;
    let found = AUDIT.first(&mut db, &Search::default().and(by::ID.is(id))).await?;
    let missing = || Refusal::not_found(format!("The Event Log with id: `{id}` not found"));
    found.map(|row| Json(view(row, &caller))).ok_or_else(missing)
}

fn view(mut row: AuditRow, caller: &Caller) -> EventLogView {
    // Only operators see the address from which a user acted.
    if caller.role < Role::Op
        && let Some(Value::Object(extra)) = &mut row.extra
    {
        extra.remove("from");
    }
    EventLogView {
        event_log_id: row.id,
        when: Timestamp(row.at),
        dag_display_name: row.dag_id.clone(),
        task_display_name: row.task_id.clone(),
        dag_id: row.dag_id,
        task_id: row.task_id,
        run_id: row.run_id,
        map_index: row.map_index,
        try_number: None,
        event: row.event,
        logical_date: None,
        owner: Some(row.actor),
        extra: row.extra.map(|extra| extra.to_string()),
    }
}
