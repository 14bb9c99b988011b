//! Appends records to topics of the built-in log.

use super::{MOST_RECORD_BYTES, bytes, get_topic, partition_of};
use crate::{
    StoreError, StoreResult, boxed,
    completion::{Commit, CompletionStep, StepFuture, database},
    hint::Hint,
};
use chrono::{DateTime, Utc};
use orch_sdk::task::{Ctx, TaskResult, fatal};
use orch_spec::text::counted;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use std::sync::atomic::{AtomicU16, Ordering};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewRecord {
    #[serde(with = "bytes")]
    pub key: Option<Vec<u8>>,
    /// `None` marks the record as a tombstone, which means that its key was deleted.
    #[serde(with = "bytes")]
    pub value: Option<Vec<u8>>,
    /// Header values by name. All values are strings.
    pub headers: Map<String, Value>,
    /// Partition for the record. If `None`, the partition is computed from the key.
    pub partition: Option<i16>,
}

impl NewRecord {
    /// Creates a record without a key, with `value` serialized as JSON.
    ///
    /// # Errors
    /// Returns a fatal error if `value` cannot be serialized as JSON.
    pub fn json(value: &impl Serialize) -> TaskResult<NewRecord> {
        let value = serde_json::to_vec(value).map_err(|error| fatal(format!("a record is not JSON: {error}")))?;
        Ok(NewRecord { value: Some(value), ..NewRecord::default() })
    }

    #[must_use]
    pub fn key(self, key: impl Into<Vec<u8>>) -> NewRecord {
        NewRecord { key: Some(key.into()), ..self }
    }

    fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Partition and offset of an appended record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub partition: i16,
    pub offset: i64,
    pub at: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error("there is no topic `{0}`\nhint: create it with `orch topics create {0}`")]
    NoSuchTopic(String),
    #[error(
        "topic `{topic}` has {}, numbered from 0: record {nth} names partition {partition}",
        counted(.partitions, "partition")
    )]
    NoSuchPartition { topic: String, partitions: i16, nth: usize, partition: i16 },
    #[error(
        "record {nth} has {bytes} bytes; {MOST_RECORD_BYTES} are taken at most\nhint: store large data elsewhere and \
         produce a reference to it"
    )]
    TooLarge { nth: usize, bytes: usize },
    #[error("topic `{topic}` is written by capture `{capture}`\nhint: produce to another topic")]
    Captured { topic: String, capture: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Round-robin counter that selects the partition for records without a key.
static TURN: AtomicU16 = AtomicU16::new(0);

/// Appends records to a topic, either all or none. Locks the affected partitions until the caller's transaction ends.
/// After the commit, the caller sends `Hint::Topic`.
///
/// # Errors
/// Returns an error if a change data capture (CDC) stream writes the topic. Records from another writer would corrupt
/// the tables that mirror the captured database.
#[boxed]
pub async fn produce(db: &mut PgConnection, topic: &str, records: &[NewRecord]) -> Result<Vec<Placed>, ProduceError> {
    refuse_captured(db, topic, None).await?;
    produce_as_writer(db, topic, records).await
}

/// Returns an error if a change data capture (CDC) stream writes the topic. `cluster` is the connection of the topic's
/// Kafka cluster; `None` means the built-in log.
#[boxed]
pub async fn refuse_captured(db: &mut PgConnection, topic: &str, cluster: Option<&str>) -> Result<(), ProduceError> {
    // A capture (CDC stream) that has not started yet may publish to the built-in log, so it counts as a writer of the
    // topic too.
    let capture = sqlx::query_scalar(
        "select name from stream
        where version is not null and spec ? 'captures' and $1 = any(string_to_array(spec->>'topic', ', ')) and
          case when $2 is null then not coalesce((capture->>'in_kafka')::boolean, false) else spec->>'connection' = $2 end
        order by name limit 1",
    );
    let capture = capture.bind(topic).bind(cluster).fetch_optional(db).await.map_err(StoreError::from)?;
    capture.map_or(Ok(()), |capture| Err(ProduceError::Captured { topic: topic.into(), capture }))
}

/// Like [`produce`], but does not check whether a change data capture (CDC) stream writes the topic. Used by such
/// streams, and by task steps that have already made this check.
#[boxed]
pub async fn produce_as_writer(
    db: &mut PgConnection,
    topic: &str,
    records: &[NewRecord],
) -> Result<Vec<Placed>, ProduceError> {
    let Some(found) = get_topic(db, topic).await? else { return Err(ProduceError::NoSuchTopic(topic.into())) };
    // Use one partition for all records without a key in this call, so that they stay together. The next call uses the
    // next partition.
    let turn = TURN.fetch_add(1, Ordering::Relaxed) % found.partitions.unsigned_abs();
    let mut partitions = Vec::with_capacity(records.len());
    for (nth, record) in records.iter().enumerate() {
        if record.bytes() > MOST_RECORD_BYTES {
            return Err(ProduceError::TooLarge { nth, bytes: record.bytes() });
        }
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) if (0..found.partitions).contains(&partition) => partition,
            (Some(partition), _) => {
                let (topic, partitions) = (topic.into(), found.partitions);
                return Err(ProduceError::NoSuchPartition { topic, partitions, nth, partition });
            }
            (None, Some(key)) => partition_of(key, found.partitions),
            (None, None) => turn.cast_signed(),
        };
        partitions.push(partition);
    }
    Ok(append(db, found.no, &partitions, records).await?)
}

async fn append(
    db: &mut PgConnection,
    topic_no: i32,
    partitions: &[i16],
    records: &[NewRecord],
) -> StoreResult<Vec<Placed>> {
    let keys: Vec<Option<&[u8]>> = records.iter().map(|record| record.key.as_deref()).collect();
    let values: Vec<Option<&[u8]>> = records.iter().map(|record| record.value.as_deref()).collect();
    let headers = |record: &NewRecord| (!record.headers.is_empty()).then(|| Value::Object(record.headers.clone()));
    let headers: Vec<Option<Value>> = records.iter().map(headers).collect();
    let placed = sqlx::query_file_as!(
        Placed,
        "queries/topic/append.sql",
        topic_no,
        partitions,
        &keys as &[Option<&[u8]>],
        &values as &[Option<&[u8]>],
        &headers as &[Option<Value>]
    );
    Ok(placed.fetch_all(db).await?)
}

/// Extension of the task context that adds `ctx.produce(topic, records)`.
pub trait Produce {
    /// Appends records in the transaction that records the success of this attempt, so each record is in the topic
    /// exactly once if the task succeeds, and not at all otherwise. If the topic does not exist at that time or a
    /// capture writes it, the attempt fails.
    ///
    /// # Errors
    /// Returns a fatal error in a child process, because a child process cannot send steps of the completion
    /// transaction.
    fn produce(&self, topic: &str, records: Vec<NewRecord>) -> TaskResult<()>;
}

impl Produce for Ctx {
    fn produce(&self, topic: &str, records: Vec<NewRecord>) -> TaskResult<()> {
        self.commit(ProduceStep { topic: topic.into(), records, database: database(self).ok() })
    }
}

struct ProduceStep {
    topic: String,
    records: Vec<NewRecord>,
    /// `None` in unit tests that run a task without a database.
    database: Option<PgPool>,
}

fn failed(error: ProduceError) -> anyhow::Error {
    match error {
        ProduceError::Store(error) => error.into(),
        wrong => fatal(wrong.to_string()),
    }
}

impl CompletionStep for ProduceStep {
    fn name(&self) -> String {
        format!("produce {} to `{}`", self.records.len(), self.topic)
    }

    /// Checks for captures before the completion transaction, because the database role of that transaction cannot read
    /// the declarations of streams.
    fn prepare(&mut self) -> StepFuture<'_> {
        Box::pin(async {
            let Some(database) = &self.database else { return Ok(()) };
            refuse_captured(&mut *database.acquire().await?, &self.topic, None).await.map_err(failed)
        })
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move { produce_as_writer(db, &self.topic, &self.records).await.map(drop).map_err(failed) })
    }

    fn hint(&self) -> Option<Hint> {
        Some(Hint::Topic)
    }
}
