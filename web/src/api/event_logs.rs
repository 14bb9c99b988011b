//! Who did what, and from where: `/api/v2/eventLogs`.

use super::pages::{Page, orders, pattern, prefix_pattern};
use crate::auth::{Caller, Role};
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_store::audit::{AuditOrder, AuditRow, AuditSearch, AuditText, count_audit, search_audit};
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

const TEXTS: [(&str, AuditText); 5] = [
    ("dag_id", AuditText::DagId),
    ("task_id", AuditText::TaskId),
    ("run_id", AuditText::RunId),
    ("owner", AuditText::Actor),
    ("event", AuditText::Event),
];

pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<EventLogPage>, Refusal> {
    let page = Page::of(&mut query);
    let (before, after) = (query.moment("before"), query.moment("after"));
    let map_index = query.whole_numbers("map_index").last().map(|&index| i32::try_from(index).unwrap_or(i32::MAX));
    let try_number = query.whole_numbers("try_number").last().copied();
    query.finish()?;
    if try_number.is_some() {
        // No entry is about one attempt.
        return Ok(Json(EventLogPage { event_logs: Vec::new(), total_entries: 0 }));
    }
    let order = orders(&query, |name| match name {
        "id" | "when" | "dttm" => Some(AuditOrder::Id),
        name => TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| AuditOrder::Text(*text)),
    })?;
    let (order, descending) = order.first().copied().unwrap_or_default();
    let text = |name: &str| query.text(name).map(String::from);
    let all = |name| query.all(name).map(String::from).collect();
    let mut contains = Vec::new();
    for (name, column) in TEXTS {
        contains.extend(pattern(&query, &format!("{name}_pattern")).map(|parts| (column, parts)));
        contains.extend(prefix_pattern(&query, &format!("{name}_prefix_pattern")).map(|parts| (column, parts)));
    }
    let search = AuditSearch {
        id: None,
        dag_id: text("dag_id"),
        run_id: text("run_id"),
        task_id: text("task_id"),
        actor: text("owner"),
        event: text("event"),
        map_index,
        included: all("included_events"),
        excluded: all("excluded_events"),
        before,
        after,
        contains,
        order,
        descending,
    };
    let mut db = app.pages().await?;
    let rows = search_audit(&mut db, &search, (page.offset, page.limit)).await?;
    let total_entries = match page.total(rows.len()) {
        Some(total) => total,
        None => count_audit(&mut db, &search).await?,
    };
    Ok(Json(EventLogPage { event_logs: rows.into_iter().map(|row| view(row, &caller)).collect(), total_entries }))
}

pub(crate) async fn get(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
) -> Result<Json<EventLogView>, Refusal> {
    let id: i64 = names.number("event_log_id")?;
    let mut db = app.hot().await?;
    let search = AuditSearch { id: Some(id), ..AuditSearch::default() };
    let found = search_audit(&mut db, &search, (0, 1)).await?.pop();
    let missing = || Refusal::not_found(format!("The Event Log with id: `{id}` not found"));
    found.map(|row| Json(view(row, &caller))).ok_or_else(missing)
}

fn view(mut row: AuditRow, caller: &Caller) -> EventLogView {
    // From where people act is for operators.
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
