//! Requests about alerts.

use super::{Api, ApiReply, ListQuery, refused};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_core::alert::{AlertKind, AlertState, Elements, Facts};
use orch_spec::Notifier;
use orch_store::alert::{AlertRow, Retry};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Alert {
    alert_id: i64,
    key: String,
    kind: AlertKind,
    connection: String,
    dag_id: Option<String>,
    dag_run_id: Option<String>,
    logical_date: Option<DateTime<Utc>>,
    task_id: Option<String>,
    map_index: Option<i32>,
    count: i64,
    map_indexes: Vec<i32>,
    try_number: Option<i16>,
    asset: Option<String>,
    outcome: String,
    reason: String,
    state: AlertState,
    tries: i32,
    next_try_at: Option<DateTime<Utc>>,
    problem: Option<String>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

fn row(value: &Value) -> Option<AlertRow> {
    let found = Alert::deserialize(value).ok()?;
    Some(AlertRow {
        id: found.alert_id,
        key: found.key,
        kind: found.kind,
        notifier: Notifier { connection: found.connection, ..Notifier::default() },
        facts: Facts {
            dag_id: found.dag_id.clone().unwrap_or_default(),
            task_id: found.task_id,
            map_index: found.map_index,
            try_number: found.try_number,
            state: found.outcome,
            reason: found.reason,
            asset: found.asset,
            elements: (found.count > 1).then_some(Elements { count: found.count, first: found.map_indexes }),
            ..Facts::default()
        },
        dag_id: found.dag_id,
        run_id: found.dag_run_id,
        logical_date: found.logical_date,
        state: found.state,
        tries: found.tries,
        due_at: found.next_try_at.unwrap_or(found.created_at),
        problem: found.problem,
        at: found.created_at,
        ended_at: found.ended_at,
    })
}

impl Api {
    /// Lists alerts, newest first.
    pub(crate) async fn alerts(&self, asked: &ListQuery) -> Result<Vec<AlertRow>, Failure> {
        self.pages_extra("alerts", "alerts", asked, row).await
    }

    pub(crate) async fn alert(&self, id: i64) -> Result<Option<AlertRow>, Failure> {
        match self.get_extra(&format!("alerts/{id}")).await? {
            ApiReply::Found(found) => row(&found).map(Some).ok_or_else(|| self.strange()),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    pub(crate) async fn retry_alert(&self, id: i64) -> Result<Retry, Failure> {
        match self.change_extra("POST", &format!("alerts/{id}/retry"), None).await? {
            ApiReply::Found(_) => Ok(Retry::Due),
            ApiReply::Refused(404, _) => Ok(Retry::NoSuchAlert),
            ApiReply::Refused(409, _) => Ok(Retry::AlreadySent),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Sends a test alert and returns its id.
    pub(crate) async fn test_alert(&self, notifier: &Notifier) -> Result<i64, Failure> {
        let body = json!({ "connection_id": notifier.connection, "message": notifier.message, "to": notifier.to });
        match self.change_extra("POST", "alerts/test", Some(&body)).await? {
            ApiReply::Found(found) => found["alert_id"].as_i64().ok_or_else(|| self.strange()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}
