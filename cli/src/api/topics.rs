//! Requests about topics: partitions, records and readers.

use super::kept::{ApiObject, path_of_one};
use super::{Api, ApiReply, ListQuery, Query, encoded, refused};
use orch_binary::failure::Failure;
use orch_deeds::kept::TOPIC;
use serde_json::{Value, json};

const READERS: &str = "api/orch/v1/topic-readers";
/// Start of the server's message for a topic that does not exist.
const NO_TOPIC: &str = "The Topic with name";

/// Position and limits of a read from a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadFrom {
    pub(crate) partition: i64,
    /// `None` in all of `offset`, `at` and `key` reads the newest records.
    pub(crate) offset: Option<i64>,
    pub(crate) at: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) limit: i64,
    /// Maximum time to wait for a first record, in seconds.
    pub(crate) wait: u32,
}

/// Records, and the offset at which the next read continues.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) records: Vec<ApiObject>,
    pub(crate) next_offset: i64,
}

/// Where topics are: in the built-in log, or in a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct TopicsAt {
    /// The connection to a cluster such as Kafka; without it topics are those of the built-in log
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
}

impl TopicsAt {
    pub(crate) fn is_cluster(&self) -> bool {
        self.connection.is_some()
    }

    /// Returns the path of the cluster's topics. `None` for the built-in log.
    fn cluster(&self) -> Option<String> {
        let id = self.connection.as_deref()?;
        Some(format!("api/orch/v1/connections/{}/topics", encoded(id)))
    }

    fn path(&self, topic: &str) -> String {
        match self.cluster() {
            Some(topics) => format!("{topics}/{}", encoded(topic)),
            None => path_of_one(TOPIC, topic),
        }
    }
}

impl Api {
    pub(crate) async fn list_topics(&self, at: &TopicsAt, asked: ListQuery) -> Result<Vec<ApiObject>, Failure> {
        let Some(path) = at.cluster() else { return self.list_kept(TOPIC, asked).await };
        self.objects(&self.of_cluster(&path).await?["topics"])
    }

    /// Sends a request about a cluster. A rejection contains the reason from the cluster.
    async fn of_cluster(&self, path: &str) -> Result<Value, Failure> {
        match self.ask("GET", path, None).await? {
            ApiReply::Found(found) => Ok(found),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Lists partitions. `None` if the built-in log has no such topic.
    pub(crate) async fn list_partitions(&self, at: &TopicsAt, topic: &str) -> Result<Option<Vec<ApiObject>>, Failure> {
        let path = format!("{}/partitions", at.path(topic));
        if at.is_cluster() {
            return self.objects(&self.of_cluster(&path).await?["partitions"]).map(Some);
        }
        let Some(found) = self.one(&path, |found| Some(found.clone())).await? else { return Ok(None) };
        self.objects(&found["partitions"]).map(Some)
    }

    /// Reads records. `None` if the topic does not exist.
    pub(crate) async fn read_records(
        &self,
        at: &TopicsAt,
        topic: &str,
        from: &ReadFrom,
    ) -> Result<Option<Records>, Failure> {
        let query =
            Query::default().with("partition", from.partition).with("limit", from.limit).with("wait", from.wait);
        let query = from.offset.into_iter().fold(query, |query, offset| query.with("offset", offset));
        let query = from.at.iter().fold(query, |query, at| query.with("at", at));
        let query = from.key.iter().fold(query, |query, key| query.with("key", key));
        let path = format!("{}/records{}", at.path(topic), query.0);
        let found = match self.ask("GET", &path, None).await? {
            ApiReply::Found(found) => found,
            // The topic exists, but not this partition, or the record was deleted.
            ApiReply::Refused(404, words) if !words.starts_with(NO_TOPIC) => return Err(refused(&words)),
            ApiReply::Refused(404, _) => return Ok(None),
            ApiReply::Refused(_, words) => return Err(refused(&words)),
        };
        let next_offset = found["next_offset"].as_i64().ok_or_else(|| self.strange())?;
        Ok(Some(Records { records: self.objects(&found["records"])?, next_offset }))
    }

    /// Appends records. The built-in log appends all of them or none. `None` if it has no such topic.
    pub(crate) async fn produce(
        &self,
        at: &TopicsAt,
        topic: &str,
        records: &[Value],
    ) -> Result<Option<usize>, Failure> {
        let path = format!("{}/records", at.path(topic));
        match self.ask("POST", &path, Some(&json!({ "records": records }))).await? {
            ApiReply::Found(done) => self.objects(&done["placed"]).map(|placed| Some(placed.len())),
            ApiReply::Refused(404, words) if !words.starts_with(NO_TOPIC) => Err(refused(&words)),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    /// Lists readers of a topic, or of all topics.
    pub(crate) async fn list_readers(&self, topic: Option<&str>) -> Result<Vec<ApiObject>, Failure> {
        let query = topic.into_iter().fold(Query::default(), |query, topic| query.with("topic_name", topic));
        let found = self.found(self.ask("GET", &format!("{READERS}{}", query.0), None).await?)?;
        self.objects(&found["readers"])
    }

    /// Moves a reader. `None` if it does not exist.
    pub(crate) async fn seek_reader(&self, name: &str, to: &Value) -> Result<Option<()>, Failure> {
        self.of_reader("POST", name, "/seek", Some(to)).await
    }

    /// Deletes a reader. `None` if it does not exist.
    pub(crate) async fn forget_reader(&self, name: &str) -> Result<Option<()>, Failure> {
        self.of_reader("DELETE", name, "", None).await
    }

    async fn of_reader(&self, verb: &str, name: &str, end: &str, body: Option<&Value>) -> Result<Option<()>, Failure> {
        if name.is_empty() {
            return Ok(None);
        }
        match self.ask(verb, &format!("{READERS}/{}{end}", encoded(name)), body).await? {
            ApiReply::Found(_) => Ok(Some(())),
            ApiReply::Refused(404, _) => Ok(None),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }

    fn objects(&self, list: &Value) -> Result<Vec<ApiObject>, Failure> {
        let entries = list.as_array().ok_or_else(|| self.strange())?;
        entries.iter().map(|entry| entry.as_object().cloned().ok_or_else(|| self.strange())).collect()
    }
}
