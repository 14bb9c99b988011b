//! Topics that streams read. One trait covers all kinds: the built-in log, Kafka topics and files.

mod file;
pub mod kafka;
mod log;

pub use file::FileTopic;
pub use log::{AskEnds, LogEnds, LogTopic};
pub use orch_store::cluster::{Bounds, KAFKA};

use self::kafka::KafkaTopic;
use crate::records::Records;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use orch_sdk::task::{Connection, TaskResult, fatal};
use sqlx::PgPool;
use tokio::time::Instant;

/// Type of a connection to the built-in log.
pub const LOG: &str = "log";

/// Type of a connection to a file that contains recorded records.
pub const FILE: &str = "file";

/// Maximum length of a topic name, in Kafka and in the built-in log.
pub(crate) const MAX_TOPIC_NAME_BYTES: usize = 249;

/// Returns true if the name is valid for a topic of both the built-in log and Kafka.
pub(crate) fn is_topic_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_TOPIC_NAME_BYTES).contains(&name.len()) && name.chars().all(is_plain)
}

/// Opens a topic of a connection. A missing topic of the built-in log is created.
///
/// # Errors
/// Returns a fatal error if connections of this type have no topics.
pub async fn open(
    connection: &Connection,
    topic: &str,
    partitions: i32,
    pool: &PgPool,
    ends: &LogEnds,
) -> TaskResult<Box<dyn TopicReader>> {
    match connection.conn_type.as_str() {
        LOG => Ok(Box::new(LogTopic::open(pool, ends, topic, partitions).await?)),
        KAFKA => Ok(Box::new(KafkaTopic::open(connection, topic)?)),
        FILE => Ok(Box::new(FileTopic::open(connection, topic)?)),
        other => Err(fatal(format!(
            "connection `{}` is of type `{other}`, which has no topics\nhint: `{LOG}` is the built-in log, `{KAFKA}` a cluster, \
             `{FILE}` a file of records",
            connection.id
        ))),
    }
}

/// Next offset to read in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// Maximum size of one read. A single record may exceed it.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    pub records: usize,
    pub bytes: usize,
}

/// Reads a topic by partitions and offsets. The caller stores the offsets; nothing is stored at the source.
///
/// Errors built by `fatal` require action by a user, for example because the topic was deleted or records were deleted
/// before they were read. After other errors, reading is retried from the last commit.
pub trait TopicReader: Send {
    /// Returns the identity of the topic. It changes if the topic is deleted and created again, or if the connection
    /// leads to another cluster.
    fn identity(&mut self) -> BoxFuture<'_, TaskResult<String>>;

    /// Returns the current offset bounds of all partitions, ordered by partition number.
    fn bounds(&mut self) -> BoxFuture<'_, TaskResult<Vec<Bounds>>>;

    /// Returns the offset of the first record that is not older than `at`, or the next offset if there is none.
    fn offset_at(&mut self, partition: i32, at: DateTime<Utc>) -> BoxFuture<'_, TaskResult<i64>>;

    /// Sets the next offsets. Partitions that are missing from `positions` are not read.
    fn seek<'a>(&'a mut self, positions: &'a [Position]) -> BoxFuture<'a, TaskResult<()>>;

    /// Waits for a record until the deadline, and adds all records that are immediately available. Cancel-safe: if a
    /// read is dropped, the next read returns its records.
    ///
    /// # Errors
    /// Returns a fatal error if an offset no longer exists, because skipping it would lose records.
    fn read<'a>(&'a mut self, into: &'a mut Records, most: Most, until: Instant) -> BoxFuture<'a, TaskResult<()>>;

    /// Returns the next offsets. Offsets without a record (transaction markers, aborted records) are skipped, so a
    /// position may be higher than the last record's offset plus one.
    fn positions(&self) -> Vec<Position>;
}

/// Checks that the topic was not deleted and created again since its offsets were stored. Kafka may continue reading
/// the new topic at the old offsets. Must be called after the last read and before its records are used.
pub(crate) async fn ensure_same_topic(reader: &mut dyn TopicReader, topic: &str, identity: &str) -> TaskResult<()> {
    let now = reader.identity().await?;
    anyhow::ensure!(now == identity, "topic `{topic}` was created again while it was read");
    Ok(())
}
