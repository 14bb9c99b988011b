//! `/api/orch/v1/sql`: SQL queries over the lake, and the history of queries.

use super::list::asked;
use crate::auth::{Caller, Role};
use crate::download::{Form, stream};
use crate::extract::{Actor, Names, Query, Typed};
use crate::queries::{MOST_FILE_ROWS, MOST_ROWS, MOST_TIME, QueryRequest, begin};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use orch_store::lake_view::{QueryAnswer, QueryLimits, collect_answer};
use orch_store::list::ListPage;
use orch_store::query_history::{QUERIES, QueryRow, by};
use orch_wire::body::Count;
use orch_wire::timestamp::{Timestamp, stamp};
use orch_wire::{Problem, body, field_type, one_of};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use uuid::Uuid;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SqlAnswer {
    #[schemars(with = "String")]
    query_id: Uuid,
    #[serde(flatten)]
    answer: QueryAnswer,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueryView {
    #[schemars(with = "String")]
    query_id: Uuid,
    sql: String,
    state: String,
    start_date: Timestamp,
    end_date: Option<Timestamp>,
    rows: Option<i64>,
    problem: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueryPage {
    queries: Vec<QueryView>,
    total_entries: i64,
}

impl From<QueryRow> for QueryView {
    fn from(row: QueryRow) -> QueryView {
        QueryView {
            query_id: row.id,
            sql: row.sql,
            state: row.state,
            start_date: Timestamp(row.started_at),
            end_date: stamp(row.ended_at),
            rows: row.rows,
            problem: row.problem,
        }
    }
}

/// Lists the caller's own queries, by default newest first.
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<QueryPage>, Refusal> {
    let search = asked(&mut query, QUERIES.columns)?.and(by::USER.is(&*caller.name));
    let ListPage { rows, total: total_entries } = QUERIES.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(QueryPage { queries: rows.into_iter().map(Into::into).collect(), total_entries }))
}

one_of! {
    struct FormWord(String): "json", "csv", "safe_csv", "jsonl"
}

field_type! {
    struct QueryId(Uuid); |value: &Value| {
        let id = value.as_str().and_then(|text| text.parse().ok());
        id.ok_or_else(|| Problem::new("uuid_parsing", "Input should be a valid UUID").with_input(value))
    };
    { "type": "string", "format": "uuid" }
}

body! {
    pub(crate) struct SqlBody {
        /// A read-only statement: `select`, `explain`, `show` or `describe`.
        sql: String,
        /// Maximum number of rows. Default: 1,000.
        limit: Option<Count>,
        /// Timeout of the query in seconds. Default: 30. Maximum: 300.
        timeout_seconds: Option<f64>,
        /// `json` returns the result as a whole; the other formats are streamed as a file.
        format: Option<FormWord>,
        /// Id by which the query can be cancelled before the response arrives.
        query_id: Option<QueryId>,
    }
}

/// Runs a query and returns its rows, either as one response or as a file that is streamed.
pub(crate) async fn run_query(
    State(app): State<App>,
    actor: Actor,
    Typed(body): Typed<SqlBody>,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let form = body.format.as_ref().and_then(|word| Form::of(&word.0));
    let limits = limits(&body, if form.is_some() { MOST_FILE_ROWS } else { MOST_ROWS });
    let id = body.query_id.map_or_else(Uuid::new_v4, |id| id.0);
    let running = begin(&app, &actor, QueryRequest { id, sql: body.sql, limits }).await?;
    match form {
        Some(form) => Ok(stream(running, form)),
        None => {
            let answer = collect_answer(Box::new(running), began).await?;
            Ok(Json(SqlAnswer { query_id: id, answer }).into_response())
        }
    }
}

fn limits(body: &SqlBody, most_rows: usize) -> QueryLimits {
    let usual = QueryLimits::default();
    let bytes = if most_rows == MOST_FILE_ROWS { usize::MAX } else { usual.bytes };
    let rows = body.limit.map_or(usual.rows, |limit| usize::try_from(limit.0).unwrap_or(most_rows)).min(most_rows);
    let seconds = body.timeout_seconds.unwrap_or(usual.time.as_secs_f64());
    QueryLimits { rows, bytes, time: time(seconds) }
}

/// Returns the requested timeout, limited to the allowed range.
pub(crate) fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(MOST_TIME).clamp(Duration::from_millis(1), MOST_TIME)
}

/// Handles `DELETE /api/orch/v1/sql/{query_id}`: cancels a query within a second, on whichever server it runs.
pub(crate) async fn cancel(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    names: Names,
) -> Result<StatusCode, Refusal> {
    let id: Uuid = names.get("query_id").parse().map_err(|_| not_running())?;
    wish_cancelled(&app, &caller, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn not_running() -> Refusal {
    Refusal::not_found("no query of yours runs under that id")
}

/// Requests the cancellation of a query. Admins may cancel the queries of all users.
pub(crate) async fn wish_cancelled(app: &App, caller: &Caller, actor: &Actor, id: Uuid) -> Result<(), Refusal> {
    let of = (caller.role < Role::Admin).then_some(&*caller.name);
    let runs = app.in_transaction(async |tx| Ok(orch_deeds::query::cancel(tx, actor, id, of).await?)).await?;
    runs.then_some(()).ok_or_else(not_running)
}
