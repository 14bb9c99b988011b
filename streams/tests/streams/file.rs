//! A file of recorded records as a topic.

use crate::world::{World, world};
use flate2::Compression;
use flate2::write::GzEncoder;
use orch_sdk::task::{Connection, MemoryHost, TaskError, TaskResult};
use orch_store::completion::left;
use orch_streams::topic::{Bounds, FileTopic, TopicReader};
use orch_streams::{Records, TopicReading};
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::io::Write as _;
use std::path::Path;

fn connection(extra: &Value) -> Connection {
    let extra = extra.as_object().unwrap().clone();
    Connection {
        id: "recorded".into(),
        conn_type: "file".into(),
        extra: extra.into_iter().collect(),
        ..Connection::default()
    }
}

fn values(records: &Records) -> Vec<String> {
    let value = |value: Option<&[u8]>| String::from_utf8(value.unwrap_or_default().to_vec()).unwrap();
    records.iter().map(|record| format!("{}:{} {}", record.partition, record.offset, value(record.value))).collect()
}

impl World {
    /// Returns what a successful task reads.
    async fn replayed(&self, extra: &Value) -> TaskResult<Vec<String>> {
        let host = MemoryHost::new().with_connection(connection(extra)).with_database(self.db.pool());
        let ctx = host.ctx();
        let mut reading = TopicReading::of(&ctx, "replay", "recorded", "users").await?;
        let mut read = Vec::new();
        while let Some(records) = reading.next(&ctx).await? {
            read.extend(values(&records));
        }
        reading.done(&ctx).await?;
        let mut db = self.db().await;
        let mut tx = db.begin().await?;
        for step in &mut left(&host) {
            step.run(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(read)
    }
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_values_and_a_file_may_grow() {
    let (world, folder) = (world().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("readings.jsonl");
    let extra = json!({ "path": path });
    let missing = world.replayed(&extra).await.unwrap_err();
    assert!(format!("{missing:#}").contains("cannot be read"), "{missing:#}");
    // The last line is incomplete. Offsets are line numbers.
    append(&path, "{\"n\": 1}\r\n\n{\"n\": 2}\n{\"n\":");
    assert_eq!(world.replayed(&extra).await.unwrap(), ["0:0 {\"n\": 1}", "0:2 {\"n\": 2}"]);
    assert!(world.replayed(&extra).await.unwrap().is_empty());
    append(&path, " 3}\n{\"n\": 4}");
    assert_eq!(world.replayed(&extra).await.unwrap(), ["0:3 {\"n\": 3}", "0:4 {\"n\": 4}"]);
    std::fs::write(&path, "{\"other\": 1}\n").unwrap();
    let other = TaskError::from(world.replayed(&extra).await.unwrap_err());
    assert!(matches!(other, TaskError::Fatal { .. }) && other.to_string().contains("created again"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_records_have_their_partitions_and_offsets() {
    let (world, folder) = (world().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("dump.jsonl.gz");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for (topic, partition, offset, value) in [
        ("users", 2, 5, json!({ "id": "1" })),
        ("orders", 0, 0, json!("another topic")),
        ("users", 0, 7, json!("as it is")),
        ("users", 2, 9, json!(null)),
    ] {
        let line = json!({ "topic": topic, "partition": partition, "offset": offset, "ts_ms": 1_756_684_815_669_i64 + offset,
            "key": "k", "value": value });
        writeln!(packed, "{line}").unwrap();
    }
    std::fs::write(&path, packed.finish().unwrap()).unwrap();
    let extra = json!({ "path": path, "format": "records" });
    assert_eq!(world.replayed(&extra).await.unwrap(), ["0:7 as it is", "2:5 {\"id\":\"1\"}", "2:9 "]);
    let mut topic = FileTopic::open(&connection(&extra), "users").unwrap();
    let bounds = [(0, 7, 8), (2, 5, 10)].map(|(partition, first, next)| Bounds { partition, first, next });
    assert_eq!(topic.bounds().await.unwrap(), bounds);
    let at = |ms| chrono::DateTime::from_timestamp_millis(ms).unwrap();
    assert_eq!(topic.offset_at(2, at(1_756_684_815_675)).await.unwrap(), 9);
    assert_eq!(topic.offset_at(2, at(1_756_684_815_999)).await.unwrap(), 10);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.jsonl");
    for (lines, words) in [
        ("{\"partition\": 0}\n", "line 1 of file"),
        ("{\"partition\": 0, \"offset\": 4}\n{\"partition\": 0, \"offset\": 4}\n", "line 2 of file"),
        ("7\n{\n", "no `partition` and `offset`"),
    ] {
        std::fs::write(&path, lines).unwrap();
        let mut topic = FileTopic::open(&connection(&json!({ "path": path, "format": "records" })), "t").unwrap();
        let error = TaskError::from(topic.bounds().await.unwrap_err());
        assert!(matches!(&error, TaskError::Fatal { .. }) && error.to_string().contains(words), "{error}");
    }
    assert!(FileTopic::open(&connection(&json!({})), "t").unwrap_err().to_string().contains("names no file"));
    let odd = connection(&json!({ "path": path, "format": "csv" }));
    assert!(FileTopic::open(&odd, "t").unwrap_err().to_string().contains("`lines` or `records`"));
}
