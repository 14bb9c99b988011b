//! Topics as streams read them: one trait, several kinds.

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

/// The type of a connection to the built-in log.
pub const LOG: &str = "log";

/// The type of a connection to a file of recorded records.
pub const FILE: &str = "file";

/// Maximum length of the name of a topic, in Kafka and here.
pub(crate) const MAX_TOPIC_NAME_BYTES: usize = 249;

/// Returns true if the built-in log and Kafka can have a topic of this name.
pub(crate) fn is_topic_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=MAX_TOPIC_NAME_BYTES).contains(&name.len()) && name.chars().all(is_plain)
}

/// Opens a topic where the connection says it is. In the built-in log it is created when it is missing.
///
/// # Errors
/// A fatal error when the connection is for something else.
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

/// Where a partition is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// How much one read may bring. One record is brought whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    pub records: usize,
    pub bytes: usize,
}

/// A topic with offsets of partitions. Offsets are always said by the reader: nothing is kept at the source.
///
/// Errors made by `fatal` need a person (the topic is gone, records were dropped before they were read); others are tried
/// again from the last commit.
pub trait TopicReader: Send {
    /// Tells this topic from another one that has its name: a topic that was deleted and created again, another cluster.
    fn identity(&mut self) -> BoxFuture<'_, TaskResult<String>>;

    /// All partitions as they are now, by number.
    fn bounds(&mut self) -> BoxFuture<'_, TaskResult<Vec<Bounds>>>;

    /// The offset of the first record that is not older; without one, the next offset.
    fn offset_at(&mut self, partition: i32, at: DateTime<Utc>) -> BoxFuture<'_, TaskResult<i64>>;

    /// Reads go on from here. What is not named is not read.
    fn seek<'a>(&'a mut self, positions: &'a [Position]) -> BoxFuture<'a, TaskResult<()>>;

    /// Waits until there is a record or the time is over, and adds what is there at once. A read that is dropped has lost
    /// nothing: the next one brings it.
    ///
    /// # Errors
    /// A fatal error when an offset is no longer kept: skipping it would lose records.
    fn read<'a>(&'a mut self, into: &'a mut Records, most: Most, until: Instant) -> BoxFuture<'a, TaskResult<()>>;

    /// Where the next read begins. Offsets that hold no record (markers of transactions, aborted records) are passed over,
    /// so a partition may be further than its last record.
    fn positions(&self) -> Vec<Position>;
}

/// Whether what was read is of the topic that its offsets belong to: a topic of Kafka that is deleted and created again may be read
/// on at the old offsets. Asked after the last read and before its records count.
pub(crate) async fn ensure_same_topic(reader: &mut dyn TopicReader, topic: &str, identity: &str) -> TaskResult<()> {
    let now = reader.identity().await?;
    anyhow::ensure!(now == identity, "topic `{topic}` was created again while it was read");
    Ok(())
}
