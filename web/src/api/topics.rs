//! `/api/orch/v1/topics/{topic_name}/…`: topics of the built-in log, with their partitions and records, and producing
//! records.

use crate::api::lake::READS_DATA;
use crate::auth::{Caller, Role};
use crate::extract::{Actor, Count, Names, OptionalCount, Query, Secret, escape_id, query_params};
use crate::live::Counted;
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use orch_deeds::topic::{PRODUCED, append};
use orch_sdk::secret::masked_variable;
use orch_store::cluster::{Bounds, WhichRecords};
use orch_store::hint::Hint;
use orch_store::topic::{
    self, MOST_RECORD_BYTES, NewRecord, PartitionRow, Placed, ProduceError, ReadFrom, RecordRow, Topic, find_key,
    list_partitions, newest_offset, no_longer_kept, no_such_partition, offset_at, read_records,
};
use orch_wire::body::ListOf;
use orch_wire::timestamp::{Timestamp, stamp};
use orch_wire::{Problem, body, field_type};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::time::Duration;
use tokio::time::Instant;

/// Minimum role to read the contents of records. The same role is required for SQL queries.
pub(crate) const READS_RECORDS: Role = READS_DATA;

const USUAL: i64 = 50;
/// Maximum number of records in a response.
const MOST: i64 = 1_000;
/// Maximum size of the keys and values in a response. A single record may be larger.
const MOST_BYTES: i64 = 4 << 20;
/// Maximum time that a request waits for a record, in seconds.
const LONGEST_WAIT: u32 = 20;
/// Maximum number of records in a request that appends records.
const MOST_NEW: usize = 10_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TopicPartitionPage {
    partitions: Vec<TopicPartitionView>,
}

/// Clusters do not report the time of the last record.
impl From<Vec<Bounds>> for TopicPartitionPage {
    fn from(partitions: Vec<Bounds>) -> TopicPartitionPage {
        let view = |Bounds { partition, first, next }| TopicPartitionView {
            partition,
            first_offset: first,
            next_offset: next,
            records: next - first,
            last_record_at: None,
        };
        TopicPartitionPage { partitions: partitions.into_iter().map(view).collect() }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct TopicPartitionView {
    partition: i32,
    /// Of the oldest record that is kept.
    first_offset: i64,
    /// Of the next record.
    next_offset: i64,
    /// That are kept.
    records: i64,
    last_record_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RecordPage {
    records: Vec<RecordView>,
    /// Where the next read goes on.
    next_offset: i64,
    /// Of the next record that is appended.
    end_offset: i64,
}

/// A key or value that is not text is sent as base64. What its name marks as secret inside JSON is `***`.
#[derive(Debug, Serialize, JsonSchema)]
struct RecordView {
    partition: i32,
    offset: i64,
    timestamp: Timestamp,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    headers: Map<String, Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlacedPage {
    /// In the order in which the records were sent.
    placed: Vec<PlacedView>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PlacedView {
    partition: i32,
    offset: i64,
    timestamp: Timestamp,
}

pub(crate) async fn named(db: &mut PgConnection, name: &str) -> Result<Topic, Refusal> {
    topic::get_topic(db, name).await?.ok_or_else(|| no_such_topic(name))
}

fn no_such_topic(name: &str) -> Refusal {
    Refusal::not_found(format!("The Topic with name: `{}` was not found", escape_id(name)))
}

pub(crate) async fn partitions(State(app): State<App>, names: Names) -> Result<Json<TopicPartitionPage>, Refusal> {
    let mut db = app.pages().await?;
    let topic = named(&mut db, names.get("topic_name")).await?;
    let view = |row: PartitionRow| TopicPartitionView {
        partition: row.partition.into(),
        first_offset: row.first_offset,
        next_offset: row.next_offset,
        records: row.next_offset - row.first_offset,
        last_record_at: stamp(row.last_at),
    };
    let partitions = list_partitions(&mut db, &topic).await?.into_iter().map(view).collect();
    Ok(Json(TopicPartitionPage { partitions }))
}

pub(crate) struct PartitionRecords {
    pub(crate) records: Vec<RecordRow>,
    pub(crate) bounds: Bounds,
    /// Offset of the next read.
    pub(crate) next: i64,
}

/// Reads a page of a partition. The error for an offset that is no longer retained contains the oldest retained offset.
pub(crate) async fn find(
    db: &mut PgConnection,
    topic: &Topic,
    partition: i64,
    which: &WhichRecords,
    most: i64,
) -> Result<PartitionRecords, Refusal> {
    let partitions = list_partitions(db, topic).await?;
    let Some(row) = partitions.into_iter().find(|row| i64::from(row.partition) == partition) else {
        return Err(Refusal::not_found(no_such_partition(partition, topic.partitions.unsigned_abs().into())));
    };
    let bounds = Bounds { partition: row.partition.into(), first: row.first_offset, next: row.next_offset };
    let offset = match which {
        WhichRecords::Key(key) => {
            let records = find_key(db, topic, row.partition, key.as_bytes(), most).await?;
            return Ok(PartitionRecords { records, next: bounds.next, bounds });
        }
        WhichRecords::From(offset) if *offset < bounds.first => {
            return Err(Refusal::not_found(no_longer_kept(*offset, partition, bounds.first)));
        }
        WhichRecords::From(offset) => *offset,
        WhichRecords::At(at) => offset_at(db, topic, row.partition, *at).await?,
        WhichRecords::Newest => newest_offset(db, topic, row.partition, most).await?,
    };
    let from = ReadFrom { partition: row.partition, offset, most, most_bytes: MOST_BYTES };
    let records = read_records(db, topic, from).await?;
    let next = records.last().map_or(offset, |record| record.offset + 1);
    Ok(PartitionRecords { records, bounds, next })
}

query_params! {
    pub(crate) struct RecordsParams {
        /// Of this partition
        partition: Count<0>,
        /// From this offset on; the newest records without it
        offset: OptionalCount,
        /// From the first record on that is not older, where no offset is named
        at: Option<DateTime<Utc>>,
        /// The newest records with this key, among the last 100,000 of the partition
        key: Option<String>,
        /// Maximum number of records
        limit: Count<USUAL, MOST>,
        /// Where there is no record yet: seconds to wait for one
        wait: Option<f64> as QueryParamType::UpTo(LONGEST_WAIT),
    }
}

pub(crate) struct RecordsQuery {
    pub(crate) partition: i64,
    pub(crate) which: WhichRecords,
    pub(crate) most: i64,
    pub(crate) until: Instant,
    pub(crate) counted: Option<Counted>,
}

pub(crate) fn wanted(app: &App, caller: &Caller, query: &mut Query) -> Result<RecordsQuery, Refusal> {
    let RecordsParams { partition, offset, at, key, limit: most, wait } = query.whole()?;
    let wait = wait.unwrap_or(0.0);
    if !(0.0..=f64::from(LONGEST_WAIT)).contains(&wait) {
        let problem = Problem::value(format!("a wait takes 0 to {LONGEST_WAIT} seconds: ask again after that"));
        return Err(problem.at(["query", "wait"]).with_input(&json!(wait)).into());
    }
    let which = match (key, offset, at) {
        (Some(key), ..) => WhichRecords::Key(key),
        (None, Some(offset), _) => WhichRecords::From(offset),
        (None, None, Some(at)) => WhichRecords::At(at),
        (None, None, None) => WhichRecords::Newest,
    };
    let counted = app.live.count_wait(&caller.name, wait)?;
    Ok(RecordsQuery { partition, which, most, until: Instant::now() + Duration::from_secs_f64(wait), counted })
}

pub(crate) async fn records(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
    mut query: Query,
) -> Result<Json<RecordPage>, Refusal> {
    let RecordsQuery { partition, which, most, until, counted: _counted } = wanted(&app, &caller, &mut query)?;
    loop {
        let hints = app.hints.clone();
        // Registered before the read, so that no record is missed.
        let produced = hints.on(Hint::Topic).notified();
        let found = {
            let mut db = app.pages().await?;
            let topic = named(&mut db, names.get("topic_name")).await?;
            find(&mut db, &topic, partition, &which, most).await?
        };
        let is_over = tokio::select! {
            biased;
            () = std::future::ready(()), if !found.records.is_empty() || most == 0 => true,
            () = tokio::time::sleep_until(until) => true,
            () = produced => false,
        };
        if is_over {
            return Ok(Json(found.into()));
        }
    }
}

impl From<PartitionRecords> for RecordPage {
    fn from(found: PartitionRecords) -> RecordPage {
        let end_offset = found.bounds.next.max(found.next);
        let records = found.records.into_iter().map(|row| view(found.bounds.partition, row)).collect();
        RecordPage { records, next_offset: found.next, end_offset }
    }
}

fn view(partition: i32, row: RecordRow) -> RecordView {
    let (key, key_base64) = readable(row.key);
    let (value, value_base64) = readable(row.value);
    let headers = match row.headers {
        Some(Value::Object(headers)) => headers,
        _ => Map::new(),
    };
    RecordView {
        partition,
        offset: row.offset,
        timestamp: Timestamp(row.at),
        key,
        key_base64,
        value,
        value_base64,
        headers,
    }
}

/// Returns bytes as text with masked secrets, or as base64 if they are not UTF-8.
pub(crate) fn readable(bytes: Option<Vec<u8>>) -> (Option<String>, Option<String>) {
    match bytes.map(String::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(masked_variable("", &text)), None),
        Some(Err(binary)) => (None, Some(BASE64.encode(binary.as_bytes()))),
    }
}

field_type! {
    /// The value of a record. Values other than strings are stored as JSON text.
    struct RecordValue(Vec<u8>); |value| Ok(as_bytes(value)); {}
}

field_type! {
    struct Base64Value(Vec<u8>); |value: &Value| {
        let decoded = value.as_str().and_then(|text| BASE64.decode(text).ok());
        decoded.ok_or_else(|| Problem::value("value_base64: it is not base64"))
    };
    { "type": "string", "contentEncoding": "base64" }
}

field_type! {
    struct Headers(Map<String, Value>); |value: &Value| match value {
        Value::Object(headers) if headers.values().all(Value::is_string) => Ok(headers.clone()),
        _ => Err(Problem::value("headers: an object of texts")),
    };
    { "type": "object", "additionalProperties": { "type": "string" } }
}

body! {
    /// A record without a value is a tombstone and requires a key.
    pub(crate) struct NewRecordBody {
        key: Option<String>,
        /// Values other than strings are stored as JSON text.
        value: Option<RecordValue>,
        /// Binary data, instead of `value`.
        value_base64: Option<Base64Value>,
        /// An object with string values.
        headers: Option<Headers>,
        /// By default, the key determines the partition, as in Kafka's own producers.
        partition: Option<i32>,
    }
    rule can_be_kept;
}

body! {
    pub(crate) struct RecordsBody {
        records: ListOf<NewRecordBody, 1, MOST_NEW>,
    }
}

impl RecordsBody {
    pub(crate) fn records(self) -> Vec<NewRecord> {
        self.records.0.into_iter().map(new_record).collect()
    }
}

/// Returns the response for appended records, given as partition, offset and timestamp.
pub(crate) fn created(placed: impl Iterator<Item = (i32, i64, DateTime<Utc>)>) -> (StatusCode, Json<PlacedPage>) {
    let placed = placed.map(|(partition, offset, at)| PlacedView { partition, offset, timestamp: Timestamp(at) });
    (StatusCode::CREATED, Json(PlacedPage { placed: placed.collect() }))
}

pub(crate) async fn produce(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Secret(body): Secret<RecordsBody>,
) -> Result<(StatusCode, Json<PlacedPage>), Refusal> {
    let placed = produce_all(&app, &actor, names.get("topic_name"), &body.records()).await?;
    let place = |placed: Placed| (placed.partition.into(), placed.offset, placed.at);
    Ok(created(placed.into_iter().map(place)))
}

pub(crate) async fn produce_all(
    app: &App,
    actor: &Actor,
    topic: &str,
    records: &[NewRecord],
) -> Result<Vec<Placed>, Refusal> {
    let appended =
        app.in_transaction(async |tx| append(tx, actor, topic, records).await.map_err(|e| refusal(topic, e)));
    let placed = appended.await?;
    app.hints.give(PRODUCED);
    Ok(placed)
}

pub(crate) fn refusal(topic: &str, error: ProduceError) -> Refusal {
    match error {
        ProduceError::NoSuchTopic(_) => no_such_topic(topic),
        ProduceError::Store(error) => error.into(),
        other => Refusal::bad_request(other.to_string().replace("\nhint", "; hint")),
    }
}

fn can_be_kept(record: &NewRecordBody) -> Result<(), Problem> {
    let (text, binary) = (record.value.as_ref().map(|value| value.0.len()), &record.value_base64);
    let bytes = match (text, binary.as_ref().map(|value| value.0.len())) {
        (Some(_), Some(_)) => return Err(Problem::value("value or value_base64: one of the two")),
        (text, binary) => text.or(binary),
    };
    match bytes {
        None if record.key.is_none() => Err(Problem::value("a record without a value is a tombstone, and needs a key")),
        Some(bytes) if bytes > MOST_RECORD_BYTES => {
            Err(Problem::value(format!("a record has {MOST_RECORD_BYTES} bytes at most")))
        }
        _ => Ok(()),
    }
}

fn new_record(body: NewRecordBody) -> NewRecord {
    NewRecord {
        key: body.key.map(String::into_bytes),
        value: body.value.map(|value| value.0).or(body.value_base64.map(|value| value.0)),
        headers: body.headers.map(|headers| headers.0).unwrap_or_default(),
        partition: body.partition.map(|partition| i16::try_from(partition).unwrap_or(-1)),
    }
}

fn as_bytes(value: &Value) -> Vec<u8> {
    value.as_str().map_or_else(|| value.to_string(), String::from).into_bytes()
}
