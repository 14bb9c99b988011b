//! `/connectors`: streams in the format of Kafka Connect's REST API, for existing tools. The shares of a stream are its
//! tasks. A stream without shares has the task 0, and restarting that task restarts the stream.

use super::streams::{declared, no_such_stream, steer};
use crate::extract::path_numbers::TASK;
use crate::extract::{Actor, Names, Query};
use crate::refusal::{Refusal, RefusalText};
use crate::state::App;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::Response;
use orch_deeds::stream::Steer;
use orch_store::list::Search;
use orch_store::stream::{ShareOfStream, StreamRow, StreamState, find_streams, shares_of_streams, stream_of_connector};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

pub(crate) const PATH: &str = "/connectors";

/// Returns the names of all connectors, or with `expand=status` or `expand=info` their details.
pub(crate) async fn list(State(app): State<App>, query: Query) -> Result<Json<Value>, Refusal> {
    let mut db = app.pages().await?;
    let rows = find_streams(&mut db, &Search::default()).await?.rows;
    let expands: Vec<&str> = query.all("expand").collect();
    if expands.is_empty() {
        return Ok(Json(rows.into_iter().map(|row| row.name).collect()));
    }
    let shares = shares_of_streams(&mut db, None).await?;
    let of = |row: &StreamRow| {
        let known = [("status", status_of(row, &shares)), ("info", info_of(row))];
        known.into_iter().filter(|(name, _)| expands.contains(name)).map(|(name, of)| (name.to_string(), of)).collect()
    };
    Ok(Json(Value::Object(rows.iter().map(|row| (row.name.clone(), Value::Object(of(row)))).collect())))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<Value>, Refusal> {
    Ok(Json(info_of(&named(&mut *app.pages().await?, names.get("stream_name")).await?)))
}

pub(crate) async fn status(State(app): State<App>, names: Names) -> Result<Json<Value>, Refusal> {
    let mut db = app.pages().await?;
    let row = named(&mut db, names.get("stream_name")).await?;
    Ok(Json(status_of(&row, &shares_of_streams(&mut db, Some(&row.name)).await?)))
}

async fn named(db: &mut PgConnection, name: &str) -> Result<StreamRow, Refusal> {
    stream_of_connector(db, name).await?.ok_or_else(|| no_such_stream(name))
}

async fn steer_connector(app: &App, actor: &Actor, name: &str, to: &Steer) -> Result<(), Refusal> {
    let row = named(&mut *app.pages().await?, name).await?;
    steer(app, actor, &row.name, to).await.map(drop)
}

pub(crate) async fn config(State(app): State<App>, names: Names) -> Result<Json<Value>, Refusal> {
    let row = named(&mut *app.pages().await?, names.get("stream_name")).await?;
    Ok(Json(Value::Object(config_of(&row))))
}

/// Returns the topic that a stream reads, or the topics that a capture writes.
pub(crate) async fn topics(State(app): State<App>, names: Names) -> Result<Json<Value>, Refusal> {
    let row = named(&mut *app.pages().await?, names.get("stream_name")).await?;
    let topics: Vec<&str> = row.topic().split(", ").filter(|topic| !topic.is_empty()).collect();
    Ok(Json(json!({ &row.name: { "topics": topics } })))
}

/// Returns the configuration of a connector, in which all values are strings.
fn config_of(row: &StreamRow) -> Map<String, Value> {
    let mut config: Map<String, Value> = declared(row).map(|(name, text)| (name.clone(), text.into())).collect();
    let tasks_max = row.shares().to_string();
    let own = [("name", &*row.name), ("connector.class", "orch"), ("topics", row.topic()), ("tasks.max", &tasks_max)];
    config.extend(own.map(|(name, text)| (name.to_string(), text.into())));
    config
}

fn info_of(row: &StreamRow) -> Value {
    let tasks: Vec<Value> = (0..row.shares()).map(|task| json!({ "connector": row.name, "task": task })).collect();
    json!({ "name": row.name, "config": config_of(row), "tasks": tasks, "type": direction(row) })
}

/// Returns `source` for a capture, which writes changes to topics, and `sink` for every other stream, which reads a
/// topic.
fn direction(row: &StreamRow) -> &'static str {
    if row.is_capture() { "source" } else { "sink" }
}

fn status_of(row: &StreamRow, shares: &[ShareOfStream]) -> Value {
    let state = in_upper_case(row.state());
    let worker = row.process.as_deref().unwrap_or_default();
    let task = |number: i32| {
        let share = shares.iter().find(|one| one.stream == row.name && one.share == number);
        let (state, worker) = match share.map(|share| share.process.as_deref()) {
            Some(None) if row.state() == StreamState::Running => (in_upper_case(StreamState::Unassigned), ""),
            Some(Some(process)) => (state, process),
            _ => (state, worker),
        };
        let mut task = json!({ "id": number, "state": state, "worker_id": worker });
        if let (StreamState::Failed, Some(error)) = (row.state(), &row.error) {
            task["trace"] = json!(error);
        }
        task
    };
    let tasks: Vec<Value> = (0..row.shares()).map(task).collect();
    json!({ "name": row.name, "connector": { "state": state, "worker_id": worker }, "tasks": tasks, "type": direction(row) })
}

fn in_upper_case(state: StreamState) -> &'static str {
    match state {
        StreamState::Running => "RUNNING",
        StreamState::Paused => "PAUSED",
        StreamState::Failed => "FAILED",
        StreamState::Unassigned => "UNASSIGNED",
    }
}

/// Restarts a stream. With `onlyFailed=true`, only a failed stream is restarted. The tasks always restart with the
/// connector, even without `includeTasks`, because a stream has no process besides its shares.
pub(crate) async fn restart(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    query: Query,
) -> Result<StatusCode, Refusal> {
    let name = names.get("stream_name");
    let only_failed = query.text("onlyFailed") == Some("true");
    if only_failed && named(&mut *app.pages().await?, name).await?.state() != StreamState::Failed {
        return Ok(StatusCode::NO_CONTENT);
    }
    steer_connector(&app, &actor, name, &Steer::Restart).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn restart_task(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    let (name, task) = (names.get("stream_name"), names.number(TASK)?);
    let shares = named(&mut *app.pages().await?, name).await?.shares();
    if !(0..shares).contains(&task) {
        return Err(Refusal::not_found(format!("Unknown task: the stream has the tasks 0 to {}", shares - 1)));
    }
    steer_connector(&app, &actor, name, &Steer::RestartShare(task)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    steer_connector(&app, &actor, names.get("stream_name"), &Steer::Pause).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn resume(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    steer_connector(&app, &actor, names.get("stream_name"), &Steer::Resume).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Returns an error response in Kafka Connect's format.
pub(crate) fn in_words_of_connect(response: Response) -> Response {
    let Some(RefusalText(words)) = response.extensions().get().cloned() else { return response };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = json!({ "error_code": parts.status.as_u16(), "message": &*words });
    Response::from_parts(parts, Body::from(body.to_string()))
}
