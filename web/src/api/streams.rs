//! `/api/orch/v1/streams`: the state of streams, and actions on them such as pausing and resetting.

use super::list::asked;
use crate::extract::path_numbers::SHARE;
use crate::extract::{Actor, Count, Names, Query, Typed, escape_id, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_deeds::Refused;
use orch_deeds::stream::{self as deeds, STEERED, Steer};
use orch_spec::names::closest;
use orch_store::list::ListPage;
use orch_store::stream::{
    PartitionOfStream, Reset, ResetTo, StreamMinute, StreamRow, by, find_streams, get_stream, minutes_of_stream,
    partitions_of_stream,
};
use orch_store::topic::topics_with_records;
use orch_wire::body::AtLeast;
use orch_wire::fields::integer;
use orch_wire::timestamp::{Timestamp, moment, moment_schema, stamp};
use orch_wire::{Problem, body, field_type};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

/// Retention of the per-minute statistics, in hours.
const MOST_HOURS: i64 = 24;
pub(crate) const USUAL_HOURS: i64 = 3;

query_params! {
    pub(crate) struct MinutesParams {
        /// Of the last hours
        hours: Count<USUAL_HOURS, MOST_HOURS>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StreamPage {
    streams: Vec<StreamView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StreamView {
    name: String,
    /// `running`, `paused`, `failed` (it is tried again, or waits for a restart) or `unassigned`: no process runs it.
    state: &'static str,
    topic: String,
    table: String,
    /// What its bundle says of it.
    spec: Value,
    bundle: String,
    /// False: its bundle has it no longer, and nothing runs it.
    is_declared: bool,
    is_paused: bool,
    /// What runs it.
    process: Option<String>,
    started_at: Option<Timestamp>,
    /// Since the last commit.
    failures: i32,
    error: Option<String>,
    failed_at: Option<Timestamp>,
    /// Of one that failed: when it is tried again.
    next_try_at: Option<Timestamp>,
    /// It failed, and is not tried again by itself.
    waits_for_restart: bool,
    /// Where it goes on reading when it runs again, as a person said.
    reset_to: Option<Value>,
    partition_count: i32,
    /// Records that are in the topic and not yet in the table.
    lag: i64,
    commits: i64,
    /// All that were read, with those in quarantine.
    records: i64,
    quarantined: i64,
    records_last_hour: i64,
    last_commit_at: Option<Timestamp>,
    /// When the newest record that was read was produced.
    last_record_at: Option<Timestamp>,
    /// Of a stream that captures the changes of a database: where it is in the log there. Its lag is in bytes of that log.
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<Value>,
}

impl From<StreamRow> for StreamView {
    fn from(row: StreamRow) -> Self {
        StreamView {
            state: row.state().name(),
            topic: row.topic().into(),
            table: row.table().into(),
            name: row.name,
            spec: row.spec,
            bundle: row.bundle,
            is_declared: row.version.is_some(),
            is_paused: row.is_paused,
            process: row.process,
            started_at: stamp(row.started_at),
            failures: row.failures,
            error: row.error,
            failed_at: stamp(row.failed_at),
            next_try_at: stamp(row.retry_at),
            waits_for_restart: row.waits_for_restart,
            reset_to: row.reset_to,
            partition_count: row.partitions,
            lag: row.lag,
            commits: row.commits,
            records: row.records,
            quarantined: row.quarantined,
            records_last_hour: row.records_last_hour,
            last_commit_at: stamp(row.last_commit_at),
            last_record_at: stamp(row.last_record_at),
            capture: row.capture.map(without_columns),
        }
    }
}

/// Removes the table schemas that a binlog capture stores, because they do not describe its position.
fn without_columns(mut capture: Value) -> Value {
    if let Some(fields) = capture.as_object_mut() {
        fields.remove("columns");
    }
    capture
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StreamDetails {
    #[serde(flatten)]
    stream: StreamView,
    partitions: Vec<StreamPartitionView>,
    /// Set if the topic has no record, with a topic of a similar name that has records.
    topic_note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StreamPartitionView {
    partition: i32,
    /// Of the next record to read: all before it are in the table or in quarantine.
    next_offset: i64,
    /// Of the next record that comes into the topic.
    end_offset: i64,
    lag: i64,
    /// That reads it now: the name of a worker, and what tells its processes apart.
    process: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StreamMinutePage {
    /// Oldest first. Minutes without a commit are left out.
    minutes: Vec<StreamMinuteView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StreamMinuteView {
    minute: Timestamp,
    records: i64,
    quarantined: i64,
    /// At its last commit.
    lag: i64,
}

/// Returns the declared fields of a stream as text. Null fields are omitted.
pub(crate) fn declared(row: &StreamRow) -> impl Iterator<Item = (&String, String)> {
    let said = row.spec.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| {
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
        let list = value.as_array().map(|list| list.iter().map(plain).collect::<Vec<_>>().join(", "));
        (name, list.unwrap_or_else(|| plain(value)))
    })
}

pub(crate) async fn named(db: &mut PgConnection, name: &str) -> Result<StreamRow, Refusal> {
    get_stream(db, name).await?.ok_or_else(|| no_such_stream(name))
}

pub(crate) fn no_such_stream(name: &str) -> Refusal {
    Refusal::not_found(format!("The Stream with name: `{}` was not found", escape_id(name)))
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<StreamPage>, Refusal> {
    let search = asked(&mut query, by::ALL)?;
    let ListPage { rows, total: total_entries } = find_streams(&mut *app.pages().await?, &search).await?;
    Ok(Json(StreamPage { streams: rows.into_iter().map(StreamView::from).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<StreamDetails>, Refusal> {
    let mut db = app.pages().await?;
    let row = named(&mut db, names.get("stream_name")).await?;
    let view = |PartitionOfStream { partition, next_offset, end_offset, process }| StreamPartitionView {
        partition,
        next_offset,
        end_offset,
        lag: end_offset - next_offset,
        process,
    };
    let partitions = partitions_of_stream(&mut db, &row.name).await?;
    let topic_note = topic_note(&mut db, &row, &partitions).await?;
    let partitions = partitions.into_iter().map(view).collect();
    Ok(Json(StreamDetails { stream: row.into(), partitions, topic_note }))
}

/// Returns a note for a stream whose topic has no record. A stream creates a missing topic, so a mistyped name looks
/// like a topic without a producer.
pub(crate) async fn topic_note(
    db: &mut PgConnection,
    row: &StreamRow,
    partitions: &[PartitionOfStream],
) -> Result<Option<String>, Refusal> {
    let has_records = row.records > 0 || partitions.iter().any(|one| one.end_offset > 0);
    if has_records || !row.reads_log() {
        return Ok(None);
    }
    let topic = row.topic();
    let others = topics_with_records(db).await?;
    let similar = closest(topic, others.iter().map(String::as_str));
    let similar = similar.map(|name| format!(" Did you mean `{name}`, which has records?")).unwrap_or_default();
    Ok(Some(format!("Topic `{topic}` has no records yet.{similar}")))
}

pub(crate) async fn minutes(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<StreamMinutePage>, Refusal> {
    let MinutesParams { hours } = query.whole()?;
    let mut db = app.pages().await?;
    let row = named(&mut db, names.get("stream_name")).await?;
    let view = |StreamMinute { minute, records, quarantined, lag }| StreamMinuteView {
        minute: Timestamp(minute),
        records,
        quarantined,
        lag,
    };
    let of_hours = i32::try_from(hours * 60).unwrap_or(i32::MAX);
    let minutes = minutes_of_stream(&mut db, &row.name, of_hours).await?.into_iter().map(view).collect();
    Ok(Json(StreamMinutePage { minutes }))
}

pub(crate) async fn pause(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<StreamView>, Refusal> {
    Ok(Json(steer(&app, &actor, names.get("stream_name"), &Steer::Pause).await?.into()))
}

pub(crate) async fn resume(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<StreamView>, Refusal> {
    Ok(Json(steer(&app, &actor, names.get("stream_name"), &Steer::Resume).await?.into()))
}

pub(crate) async fn restart(State(app): State<App>, actor: Actor, names: Names) -> Result<Json<StreamView>, Refusal> {
    Ok(Json(steer(&app, &actor, names.get("stream_name"), &Steer::Restart).await?.into()))
}

pub(crate) async fn restart_share(
    State(app): State<App>,
    actor: Actor,
    names: Names,
) -> Result<Json<StreamView>, Refusal> {
    let share = Steer::RestartShare(names.number(SHARE)?);
    Ok(Json(steer(&app, &actor, names.get("stream_name"), &share).await?.into()))
}

field_type! {
    /// The position at which a stream or a reader continues.
    struct Place(ResetTo); reset_to;
    { "anyOf": [
        { "type": "string", "enum": ["earliest", "latest"],
            "description": "The oldest record that is kept, or what comes from now on." },
        { "type": "object", "required": ["offset"], "properties": { "offset": { "type": "integer", "minimum": 0 } } },
        { "type": "object", "required": ["time"], "properties": { "time": moment_schema() },
            "description": "The first record that is not older." },
    ] }
}

body! {
    pub(crate) struct SeekReaderBody {
        to: Place,
        /// Reset only this partition. Required for an offset if the topic has several partitions.
        partition: Option<AtLeast<0>>,
    }
}

impl SeekReaderBody {
    pub(super) fn place(self) -> (ResetTo, Option<i32>) {
        (self.to.0, self.partition.map(|partition| partition.0))
    }
}

body! {
    pub(crate) struct ResetStreamBody {
        /// Also empties the table when the stream restarts.
        empty_table: Option<bool>,
        ..to: SeekReaderBody,
    }
}

pub(crate) async fn reset(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(body): Typed<ResetStreamBody>,
) -> Result<Json<StreamView>, Refusal> {
    let (to, partition) = body.to.place();
    let reset = Reset { partition, to, empty_table: body.empty_table.unwrap_or(false) };
    let steered = steer(&app, &actor, names.get("stream_name"), &Steer::Reset(reset)).await?;
    Ok(Json(steered.into()))
}

body! {
    pub(crate) struct SkipRecordBody {
        partition: AtLeast<0>,
        offset: RecordOffset,
    }
}

field_type! {
    /// The offset of a record within its partition.
    struct RecordOffset(i64); record_offset;
    { "type": "integer", "minimum": 0 }
}

fn record_offset(value: &Value) -> Result<i64, Problem> {
    let offset = integer(value).filter(|offset| *offset >= 0);
    offset.ok_or_else(|| Problem::value("offset: must be a whole number of at least 0").with_input(value))
}

pub(crate) async fn skip(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(body): Typed<SkipRecordBody>,
) -> Result<Json<StreamView>, Refusal> {
    let skip = Steer::Skip { partition: body.partition.0, offset: body.offset.0 };
    Ok(Json(steer(&app, &actor, names.get("stream_name"), &skip).await?.into()))
}

fn reset_to(value: &Value) -> Result<ResetTo, Problem> {
    let only = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
    match (value.as_str(), only.map(|(name, value)| (name.as_str(), value))) {
        (Some("earliest"), _) => Ok(ResetTo::Earliest),
        (Some("latest"), _) => Ok(ResetTo::Latest),
        (_, Some(("offset", offset))) => {
            let offset = integer(offset).filter(|offset| *offset >= 0);
            offset.map(ResetTo::Offset).ok_or_else(|| Problem::value("to: an offset is a whole number from 0 on"))
        }
        (_, Some(("time", at))) => moment(at).map(ResetTo::Time),
        _ => Err(Problem::value("to: `earliest`, `latest`, {\"offset\": 17} or {\"time\": \"2026-11-22T06:00:00Z\"}")
            .with_input(value)),
    }
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    forget(&app, &actor, names.get("stream_name")).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Controls a stream and returns it after the change.
pub(crate) async fn steer(app: &App, actor: &Actor, name: &str, steer: &Steer) -> Result<StreamRow, Refusal> {
    let steered =
        app.in_transaction(async |tx| deeds::steer(tx, actor, name, steer).await.map_err(|why| refusal(name, why)));
    let row = steered.await?;
    app.hints.give(STEERED);
    Ok(row)
}

pub(crate) async fn forget(app: &App, actor: &Actor, name: &str) -> Result<(), Refusal> {
    app.in_transaction(async |tx| deeds::delete(tx, actor, name).await.map_err(|why| refusal(name, why))).await
}

fn refusal(name: &str, refused: Refused) -> Refusal {
    match refused {
        Refused::Rule(why) => Refusal::plain(StatusCode::CONFLICT, why),
        Refused::Forbidden(why) => Refusal::plain(StatusCode::FORBIDDEN, why),
        Refused::Secret(error) => error.into(),
        Refused::NotFound | Refused::Taken => no_such_stream(name),
    }
}
