//! `/api/orch/v1/alerts`: sent and pending alerts, and why an alert could not be delivered.

use super::list::asked;
use crate::extract::path_numbers::ALERT_ID;
use crate::extract::{Actor, Names, Query, Typed};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_spec::Notifier;
use orch_spec::ids::ConnectionId;
use orch_spec::template::check_template;
use orch_store::alert::{ALERTS, AlertRow, Retry, alert};
use orch_store::list::ListPage;
use orch_wire::fields::text;
use orch_wire::timestamp::{Timestamp, stamp};
use orch_wire::{Problem, body, field_type};
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertPage {
    alerts: Vec<AlertView>,
    total_entries: i64,
}

/// A notification that was sent or is to be sent.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlertView {
    alert_id: i64,
    /// Sent with it: a receiver knows by it an alert that comes twice.
    key: String,
    /// What it is about.
    kind: String,
    /// Id of the connection over which it is told.
    connection: String,
    dag_id: Option<String>,
    dag_run_id: Option<String>,
    logical_date: Option<Timestamp>,
    task_id: Option<String>,
    map_index: Option<i32>,
    /// Of how many ends it tells: elements of a mapped task that end near each other are one alert.
    count: i64,
    /// Of a mapped task: the elements it names, a few of many.
    map_indexes: Vec<i32>,
    try_number: Option<i16>,
    asset: Option<String>,
    /// What the run or the task is, or the check found.
    outcome: String,
    reason: String,
    /// `waiting`, `sent` or `failed`: not delivered for a day.
    state: String,
    /// How often it was tried.
    tries: i32,
    /// Of one that waits: when it is sent again.
    next_try_at: Option<Timestamp>,
    /// Why the last try did not succeed.
    problem: Option<String>,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl AlertView {
    fn new(row: AlertRow, is_admin: bool) -> Self {
        let problem = problem_of(&row, is_admin);
        AlertView {
            alert_id: row.id,
            key: row.key,
            kind: row.kind.to_string(),
            connection: row.notifier.connection,
            dag_id: row.dag_id,
            dag_run_id: row.run_id,
            logical_date: stamp(row.logical_date),
            count: row.facts.count(),
            map_indexes: row.facts.map_indexes(),
            task_id: row.facts.task_id,
            map_index: row.facts.map_index,
            try_number: row.facts.try_number,
            asset: row.facts.asset,
            outcome: row.facts.state,
            reason: row.facts.reason,
            next_try_at: row.ended_at.is_none().then_some(Timestamp(row.due_at)),
            state: row.state.to_string(),
            tries: row.tries,
            problem,
            created_at: Timestamp(row.at),
            ended_at: stamp(row.ended_at),
        }
    }
}

/// Returns why an alert was not delivered. Only admins see the reason; other users are referred to the scheduler's log.
pub(crate) fn problem_of(row: &AlertRow, is_admin: bool) -> Option<String> {
    let connection = &row.notifier.connection;
    let hidden = || {
        format!("the connection `{connection}` failed; an administrator and the log of the scheduler have the reason")
    };
    row.problem.as_ref().map(|reason| if is_admin { reason.clone() } else { hidden() })
}

pub(crate) async fn list(State(app): State<App>, actor: Actor, mut query: Query) -> Result<Json<AlertPage>, Refusal> {
    let search = asked(&mut query, ALERTS.columns)?;
    let ListPage { rows, total: total_entries } = ALERTS.find(&mut *app.pages().await?, &search).await?;
    let alerts = rows.into_iter().map(|row| AlertView::new(row, actor.is_admin)).collect();
    Ok(Json(AlertPage { alerts, total_entries }))
}

pub(crate) async fn get(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<AlertView>, Refusal> {
    let id = names.number(ALERT_ID)?;
    let row = alert(&mut *app.pages().await?, id).await?.ok_or_else(|| no_such_alert(id))?;
    Ok(Json(AlertView::new(row, actor.is_admin)))
}

/// Retries a pending or failed alert immediately.
pub(crate) async fn retry(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<AlertView>, Refusal> {
    let id = names.number(ALERT_ID)?;
    Ok(Json(AlertView::new(send_again(&app, &actor, id).await?, actor.is_admin)))
}

pub(crate) async fn send_again(app: &App, actor: &Actor, id: i64) -> Result<AlertRow, Refusal> {
    let row = app.in_transaction(async |tx| match orch_deeds::alert::retry(tx, actor, id).await? {
        Retry::Due => alert(tx, id).await?.ok_or_else(|| no_such_alert(id)),
        Retry::AlreadySent => Err(Refusal::plain(StatusCode::CONFLICT, format!("alert {id} was sent already"))),
        Retry::NoSuchAlert => Err(no_such_alert(id)),
    });
    let row = row.await?;
    app.hints.give(orch_deeds::alert::DUE);
    Ok(row)
}

field_type! {
    struct ConnectionName(String); |value| {
        let id = text(value)?;
        ConnectionId::new(&id).map_err(|error| Problem::value(error.to_string()))?;
        Ok(id)
    };
    { "type": "string", "minLength": 1, "maxLength": 250 }
}

field_type! {
    struct AlertText(String); |value| {
        let text = text(value)?;
        check_template(&text).map_err(Problem::value)?;
        Ok(text)
    };
    { "type": "string" }
}

body! {
    pub(crate) struct AlertTestBody {
        connection_id: ConnectionName,
        /// One line; may contain fields in braces.
        subject: Option<AlertText>,
        /// May contain fields in braces.
        message: Option<AlertText>,
        /// Recipients of an email, instead of those of the connection.
        to: Option<Vec<String>>,
    }
}

/// Sends a test alert. Its state shows whether the connection can deliver alerts.
pub(crate) async fn test(
    State(app): State<App>,
    actor: Actor,
    Typed(body): Typed<AlertTestBody>,
) -> Result<(StatusCode, Json<AlertView>), Refusal> {
    let notifier = Notifier {
        connection: body.connection_id.0,
        subject: body.subject.map(|subject| subject.0),
        message: body.message.map(|message| message.0),
        to: body.to.unwrap_or_default(),
        ..Notifier::default()
    };
    let row = send_test(&app, &actor, notifier).await?;
    Ok((StatusCode::CREATED, Json(AlertView::new(row, actor.is_admin))))
}

/// Requires `test_connection`, like connection tests: both can reach every host that this server can reach.
pub(crate) async fn send_test(app: &App, actor: &Actor, notifier: Notifier) -> Result<AlertRow, Refusal> {
    if !app.config.test_connection {
        let text = "testing alerts is switched off\nhint: switch it on with `ORCH_TEST_CONNECTION=true`, or \
                    `test_connection = true` in the settings of the server";
        return Err(Refusal::plain(StatusCode::FORBIDDEN, text));
    }
    let row = app.in_transaction(async |tx| {
        let id = orch_deeds::alert::test(tx, actor, notifier).await?;
        alert(tx, id).await?.ok_or_else(|| no_such_alert(id))
    });
    let row = row.await?;
    app.hints.give(orch_deeds::alert::DUE);
    Ok(row)
}

fn no_such_alert(id: i64) -> Refusal {
    Refusal::not_found(format!("The Alert with id: `{id}` was not found"))
}
