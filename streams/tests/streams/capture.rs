//! Changes of a real Postgres and a real MariaDB reach their topics exactly once, after any interruption.

mod by_mirrors;
mod copies;
mod debezium;
mod elsewhere;
mod hostile;
mod mirrors;
mod mysql;
mod scenes;
mod source;
mod states;
mod values;

use crate::world::{COMMIT, Host, SOURCE, World, world};
use orch_sdk::task::Connection;
use orch_store::stream::{Reset, ResetTo, StreamRow, reset_stream};
use orch_store::topic::{ReadFrom, get_topic, list_partitions, read_records};
use orch_streams::{Capture, Stream};
use orch_test_support::PrivateServer;
use serde_json::Value;
use source::Source;
use sqlx::postgres::PgListener;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Longer than anything that these tests wait for.
const PATIENCE: Duration = Duration::from_mins(2);

/// A database with tables, and a world with the stream that captures them.
pub(super) struct Shop<S = PrivateServer> {
    world: World,
    source: S,
}

/// A record as Debezium's readers see it.
#[derive(Debug, Clone)]
pub(super) struct CapturedRecord {
    partition: i16,
    key: Option<String>,
    op: String,
    before: Value,
    after: Value,
    source: Value,
    headers: Option<Value>,
}

/// A pseudo-random generator with the same sequence in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn items<S: Source>() -> Stream {
    capture(S::capture(&["item"]))
}

/// `World` finds its stream by this name.
pub(super) fn capture(what: Capture) -> Stream {
    Stream::new("readings").capture(what).commit_every(COMMIT)
}

pub(super) async fn shop(tables: &str) -> Shop {
    shop_at(PrivateServer::with_changes().await, tables).await
}

async fn shop_at(source: PrivateServer, tables: &str) -> Shop {
    let mut world = world().await;
    world.connections.push(Connection::from_uri(SOURCE, &source.url()).unwrap());
    let shop = Shop { world, source };
    shop.run_statements(tables).await;
    shop
}

impl Shop {
    /// The session of the ended stream may still hold the slot, so the drop is retried.
    async fn drop_slot(&self) {
        let mut db = self.source.session().await;
        let drop = "select pg_drop_replication_slot('orch_readings')";
        while sqlx::query(drop).execute(&mut db).await.is_err() {}
    }
}

impl<S: Source> Shop<S> {
    async fn run_statements(&self, sql: &str) {
        S::run(&mut self.source.session().await, sql).await;
    }

    /// Inserts a last item, and returns the changes up to it.
    async fn until_the_end(&self) -> Vec<CapturedRecord> {
        self.run_statements("insert into item values (-1, 0, 'the end')").await;
        self.until_last("item", |told| is_of(told, -1)).await
    }
}

impl<S> Shop<S> {
    /// Returns the records of a table's topic, partition by partition.
    async fn told(&self, table: &str) -> Vec<CapturedRecord> {
        let mut db = self.world.db().await;
        let Some(topic) = get_topic(&mut db, &format!("{SOURCE}.{table}")).await.unwrap() else { return Vec::new() };
        let mut told = Vec::new();
        for bounds in list_partitions(&mut db, &topic).await.unwrap() {
            let partition = bounds.partition;
            let mut offset = 0;
            loop {
                let from = ReadFrom { partition, offset, most: 10_000, most_bytes: 64 << 20 };
                let read = read_records(&mut db, &topic, from).await.unwrap();
                let Some(last) = read.last() else { break };
                offset = last.offset + 1;
                told.extend(read.iter().map(|record| {
                    CapturedRecord::of(
                        partition,
                        record.key.as_deref(),
                        record.value.as_deref().unwrap(),
                        record.headers.clone(),
                    )
                }));
            }
        }
        told
    }

    /// Waits until `holds` returns a value for the stream. It is checked whenever the stream commits or fails, and
    /// failures are retried immediately.
    async fn until<T>(&self, what: &str, mut holds: impl AsyncFnMut(&StreamRow) -> Option<T>) -> T {
        let mut moved = PgListener::connect(&self.world.db.url()).await.unwrap();
        moved.listen("moved").await.unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let row = self.world.row().await;
            if let Some(row) = &row {
                if let Some(value) = holds(row).await {
                    return value;
                }
                if row.retry_at.is_some() {
                    self.world.try_again().await;
                }
            }
            let heard = tokio::time::timeout_at(until, moved.recv()).await;
            assert!(heard.is_ok() && Instant::now() < until, "it does not come to that: {what}: {row:#?}");
        }
    }

    /// Waits until the topic of a table ends with such a record.
    async fn until_last(&self, table: &str, is_last: impl Fn(&CapturedRecord) -> bool) -> Vec<CapturedRecord> {
        self.until("the last record", async |_| {
            let told = self.told(table).await;
            told.last().is_some_and(&is_last).then_some(told)
        })
        .await
    }

    async fn until_records(&self, many: i64) -> StreamRow {
        self.until("so many records", async |row| (row.records >= many).then(|| row.clone())).await
    }

    /// Waits for such an error of the stream, and returns it.
    async fn failure(&self, is_it: impl Fn(&str) -> bool) -> String {
        self.until("a failure", async |row| row.error.clone().filter(|error| is_it(error))).await
    }

    /// Waits until the snapshot is finished and changes are followed.
    async fn until_following(&self) {
        self.until("the snapshot", async |row| (row.capture.as_ref()?["phase"] == "changes").then_some(())).await;
    }

    /// Waits until `many` snapshots have started, the last one is finished, and changes are followed.
    async fn until_snapshot(&self, many: u64) {
        self.until("another snapshot", async |row| (row.capture.as_ref()?["snapshots"] == many).then_some(())).await;
        self.until_following().await;
    }

    async fn reset(&self) {
        let to = Reset { partition: None, to: ResetTo::Earliest, empty_table: false };
        assert!(reset_stream(&mut self.world.db().await, "readings", &to).await.unwrap());
        self.world.steered();
    }

    fn host(&self, stream: &Stream) -> Host {
        self.world.host(stream)
    }
}

fn key(id: i64) -> String {
    format!(r#"{{"id":{id}}}"#)
}

fn is_of(told: &CapturedRecord, id: i64) -> bool {
    told.key == Some(key(id))
}

impl CapturedRecord {
    fn of(partition: i16, key: Option<&[u8]>, value: &[u8], headers: Option<Value>) -> CapturedRecord {
        let mut value: Value = serde_json::from_slice(value).unwrap();
        let mut take = |name: &str| value[name].take();
        CapturedRecord {
            partition,
            key: key.map(|key| String::from_utf8(key.to_vec()).unwrap()),
            op: take("op").as_str().unwrap().into(),
            before: take("before"),
            after: take("after"),
            source: take("source"),
            headers,
        }
    }

    /// Returns the operation, the key, and the new row, or the old one after a deletion.
    fn line(&self) -> String {
        let row = if self.after.is_null() { &self.before } else { &self.after };
        format!("{} {} {row}", self.op, self.key.as_deref().unwrap_or("-"))
    }
}

pub(super) fn lines(told: &[CapturedRecord]) -> Vec<String> {
    told.iter().map(CapturedRecord::line).collect()
}

/// Returns the rows that result from the records. Panics on missing and duplicate changes, which do not fit the row.
pub(super) fn replay(told: &[CapturedRecord]) -> BTreeMap<String, Value> {
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    for one in told {
        let key = one.key.clone().unwrap_or_default();
        let was = match one.op.as_str() {
            "t" => {
                rows.clear();
                continue;
            }
            "d" => rows.remove(&key),
            _ => rows.insert(key, one.after.clone()),
        };
        assert_eq!(was.unwrap_or_default(), one.before, "it does not fit: {one:?}");
    }
    rows
}
