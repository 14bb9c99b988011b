//! Maintenance of a growing table never delays its stream.

use crate::hostile::is_long;
use crate::world::{COMMIT, World, named, readings, stream, world};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, Utc};
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_store::topic::NewRecord;
use orch_streams::Stream;
use orch_test_support::rng::Rng;
use sqlx::Connection as _;
use sqlx::postgres::PgListener;
use std::sync::OnceLock;
use std::time::Duration;

const MAX_GAP: Duration = Duration::from_secs(1).saturating_add(COMMIT);
/// Next to other tests, everything takes longer.
const MAX_GAP_SHORT: Duration = Duration::from_secs(4);

/// Number of commits of a short test. Maintenance starts after 100.
const COMMITS: i64 = 120;

/// Appends records and returns their number: two million, or enough for the commits of a short test.
async fn fill(world: &World, mut id: impl FnMut(i64) -> i64) -> i64 {
    let is_long = is_long();
    let mut db = world.db().await;
    for first in (0..2_000_000).step_by(100) {
        if !is_long && world.row().await.unwrap().commits >= COMMITS {
            return first;
        }
        let record = |nth: i64| {
            let value = format!(r#"{{"id":{},"city":"c{}"}}"#, id(nth), nth % 7);
            NewRecord { value: Some(value.into()), ..NewRecord::default() }
        };
        let records: Vec<_> = (first..first + 100).map(record).collect();
        let mut tx = db.begin().await.unwrap();
        orch_store::topic::produce(&mut tx, "readings", &records).await.unwrap();
        tx.commit().await.unwrap();
        world.appended();
    }
    2_000_000
}

/// Collects the times of commits until the stream has read all records.
async fn watch(world: &World, records: &OnceLock<i64>) -> Vec<DateTime<Utc>> {
    let mut moved = PgListener::connect(&world.db.url()).await.unwrap();
    moved.listen("moved").await.unwrap();
    let mut commits = Vec::new();
    loop {
        let row = world.row().await.unwrap();
        assert!(row.error.is_none(), "{:?}", row.error);
        if commits.last() != row.last_commit_at.as_ref() {
            commits.extend(row.last_commit_at);
        }
        if records.get() == Some(&row.records) {
            return commits;
        }
        moved.recv().await.unwrap();
    }
}

async fn check_gaps(stream: &Stream, id: impl FnMut(i64) -> i64) {
    let world = world().await;
    world.topic().await;
    let host = world.host(stream);
    world.until(|row| row.is_leased).await;
    let records = OnceLock::new();
    let fill = async { records.set(fill(&world, id).await).unwrap() };
    let ((), commits) = tokio::join!(fill, watch(&world, &records));
    host.end().await;
    let longest = commits.windows(2).map(|pair| (pair[1] - pair[0]).to_std().unwrap()).max().unwrap();
    let max = if is_long() { MAX_GAP } else { MAX_GAP_SHORT };
    assert!(longest <= max, "{} commits, the longest gap is {longest:?}", commits.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_appended_rows_follow_each_other() {
    check_gaps(&readings(), |nth| nth).await;
}

/// Rows are replaced repeatedly, so maintenance competes with publishing for the same files.
#[tokio::test(flavor = "multi_thread")]
async fn commits_of_replaced_rows_follow_each_other() {
    let fields = [Field::new("id", DataType::Int64, false), Field::new("city", DataType::Utf8, true)];
    let table = TableDef::new().required("id", PrimitiveType::Long).optional("city", PrimitiveType::String).key(["id"]);
    let stream = stream().json(Schema::new(fields.to_vec())).upsert(named("test.readings"), table, &["id"], None);
    let mut rng = Rng::new(7);
    check_gaps(&stream, |nth| i64::try_from(rng.below(usize::try_from(nth / 20 + 1_000).unwrap())).unwrap()).await;
}
