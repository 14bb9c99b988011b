//! Reads and writes topics of a broker cluster such as Kafka, on behalf of users. Only bundles contain client libraries
//! of brokers: a process of the bundle executes each request, and receives the connection with it.

use crate::boxed;
use crate::lake_view::{FindConnection, LakeError, LakeResult};
use crate::topic::{NewRecord, RecordRow};
use chrono::{DateTime, Utc};
use orch_sdk::task::{BoxFuture, Connection, TaskError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// Type of connections to Apache Kafka.
pub const KAFKA: &str = "kafka";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ClusterQuestion {
    /// The addresses that the brokers advertise, as `host:port`. Only brokers that the connection lists are queried.
    Brokers,
    Topics,
    Bounds(String),
    Read(String, ReadAt),
    Produce(String, Vec<NewRecord>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterTopic {
    pub name: String,
    pub partitions: Vec<Bounds>,
}

/// The records of a partition: offsets from `first` (inclusive) to `next` (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    pub partition: i32,
    pub first: i64,
    pub next: i64,
}

/// Selects which records to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhichRecords {
    From(i64),
    At(DateTime<Utc>),
    Newest,
    /// The newest records with this key.
    Key(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadAt {
    /// Partition to read. `None` selects the partition of the key, or the first partition if no key is given.
    pub partition: Option<i32>,
    pub which: WhichRecords,
    pub most: usize,
}

/// Records of one partition, and the bounds of all partitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterRecords {
    pub partitions: Vec<Bounds>,
    /// Bounds of the partition that was read.
    pub bounds: Bounds,
    pub records: Vec<RecordRow>,
    /// Offset from which the next read continues.
    pub next: i64,
}

/// The partition and offset of a new record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPlace {
    pub partition: i32,
    pub offset: i64,
    pub at: DateTime<Utc>,
}

/// Sends a request to the bundle. Returns the result of the corresponding method of `ClusterDoor` as JSON.
pub type AskCluster = dyn Fn(Connection, ClusterQuestion) -> BoxFuture<LakeResult<Value>> + Send + Sync;

/// A process's access to clusters. Empty if the process has none.
#[derive(Clone, Default)]
pub struct ClusterDoor(Option<(Arc<FindConnection>, Arc<AskCluster>)>);

impl ClusterDoor {
    pub fn new(find: Arc<FindConnection>, ask: Arc<AskCluster>) -> ClusterDoor {
        ClusterDoor(Some((find, ask)))
    }

    fn open(&self) -> LakeResult<&(Arc<FindConnection>, Arc<AskCluster>)> {
        self.0.as_ref().ok_or_else(|| {
            let text = "this server cannot ask clusters: their clients come with a bundle, and none is beside it\n\
                hint: build `orch-pipelines` with `make build`, or name a bundle with `ORCH_BUNDLE`";
            LakeError::NotFound(text.into())
        })
    }

    /// Looks up the connection to a cluster in the same way as streams and tasks do.
    ///
    /// # Errors
    /// Returns an error if the connection does not exist or its type is not `kafka`.
    #[boxed]
    pub async fn connection(&self, id: &str) -> LakeResult<Connection> {
        let (find, _) = self.open()?;
        let connection = find(id).await.map_err(|error| match TaskError::from(error) {
            fatal @ TaskError::Fatal { .. } => LakeError::NotFound(fatal.to_string()),
            other => LakeError::Unavailable(other.to_string()),
        })?;
        if connection.conn_type == KAFKA {
            return Ok(connection);
        }
        let text =
            format!("connection `{id}` is of type `{}`: topics are in one of type `{KAFKA}`", connection.conn_type);
        Err(LakeError::NotFound(text))
    }

    /// Returns the addresses that the cluster advertises, as `host:port`.
    #[boxed]
    pub async fn brokers(&self, at: Connection) -> LakeResult<Vec<String>> {
        self.ask(at, ClusterQuestion::Brokers).await
    }

    /// Returns the topics, sorted by name.
    #[boxed]
    pub async fn topics(&self, at: Connection) -> LakeResult<Vec<ClusterTopic>> {
        self.ask(at, ClusterQuestion::Topics).await
    }

    /// Returns the bounds of all partitions, sorted by partition number.
    #[boxed]
    pub async fn bounds(&self, at: Connection, topic: &str) -> LakeResult<Vec<Bounds>> {
        self.ask(at, ClusterQuestion::Bounds(topic.into())).await
    }

    #[boxed]
    pub async fn read(&self, at: Connection, topic: &str, from: ReadAt) -> LakeResult<ClusterRecords> {
        self.ask(at, ClusterQuestion::Read(topic.into(), from)).await
    }

    /// Writes records, and returns their offsets in the same order. After an error, some records may have been written.
    #[boxed]
    pub async fn produce(&self, at: Connection, topic: &str, records: Vec<NewRecord>) -> LakeResult<Vec<ClusterPlace>> {
        self.ask(at, ClusterQuestion::Produce(topic.into(), records)).await
    }

    async fn ask<T: DeserializeOwned>(&self, at: Connection, question: ClusterQuestion) -> LakeResult<T> {
        let (_, ask) = self.open()?;
        let answer = ask(at, question).await?;
        serde_json::from_value(answer).map_err(|error| LakeError::Broken(error.to_string()))
    }
}

impl fmt::Debug for ClusterDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ClusterDoor" } else { "ClusterDoor(none)" })
    }
}

/// Returns the name that a topic has in the cluster. The extra field `topics` of the connection can map the names that
/// streams and tasks use.
pub fn name_at<'a>(connection: &'a Connection, topic: &'a str) -> &'a str {
    let names = connection.extra.get("topics").and_then(|names| names.get(topic));
    names.and_then(Value::as_str).unwrap_or(topic)
}
