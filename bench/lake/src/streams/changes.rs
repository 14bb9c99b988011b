//! Captures changes of a Postgres table and applies them to a table of the lake, without Kafka and Debezium. A separate
//! group measures how Debezium reads the same rows and changes into a Kafka topic, which is the first half of that
//! work.

use super::World;
use super::debezium::Debezium;
use crate::place::{catalog, folder, on_runtime};
use anyhow::{Context as _, Result, ensure};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use orch_bench::process::{forget_peak, peak_of};
use orch_bench::{Bench, Figure, percentile};
use orch_lake::TableDef;
use orch_sdk::task::Connection;
use orch_streams::{Capture, Changes, Stream};
use orch_test_support::PrivateServer;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use std::time::{Duration, Instant};

/// Connection id of the database.
const SOURCE: &str = "shop_db";
const CAPTURE: &str = "shop";
const MIRROR: &str = "shop_orders";
/// A capture that writes the rows of the snapshot to its topic, and a mirror that reads them there.
const TOLD: &str = "told";
const MIRROR_OF_TOLD: &str = "told_orders";
/// Updates per transaction.
const A_TRANSACTION: u64 = 1_000;
/// Updates per second while the delay is measured.
const A_SECOND: u64 = 5_000;
const TICK: Duration = Duration::from_millis(100);
const COMMIT: Duration = Duration::from_millis(250);

pub(crate) fn rows(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (rows, changes) = sizes(bench);
    let seconds = bench.times(20, 2) as u64;
    let (url, warehouse) = (catalog(bench)?, folder(bench, "changes")?);
    on_runtime(async {
        let shop = PrivateServer::with_changes_over_tcp().await;
        let topics = Connection { id: "topics".into(), conn_type: "log".into(), ..Connection::default() };
        let source = Connection::from_uri(SOURCE, &shop.url())?;
        let world = World::new(url, warehouse, vec![topics, source]).await?;
        let mut db = filled(&shop, rows).await?;

        let told = world.rates(through_the_topic(), rows, rows).await?;
        db.execute("select pg_drop_replication_slot('orch_told')").await?;
        forget_peak(std::process::id())?;
        // The first record is the marker of the snapshot.
        let copied = world.rates(by_the_mirror(), 1, rows).await?;
        update(&mut db, rows, changes).await?;
        let changed = world.rates(by_the_mirror(), 1 + changes, changes).await?;
        let peak = peak_of(std::process::id())?;
        let delays = world.delays(&mut db, (rows, 1 + changes), seconds).await?;
        let figure = |name, rate: f64, many: u64| Figure::new(name, rate, 1).with("rows", many);
        Ok(vec![
            figure("cdc_snapshot_rows_per_s", copied.1, rows).with("through_the_topic_per_s", told.1),
            figure("cdc_changes_per_s", changed.1, changes).with("captured_per_s", changed.0),
            Figure::new("cdc_rss_mb", peak, 1),
            Figure::new("cdc_lag_p95_ms", percentile(&delays, 0.95), delays.len()).with("changes_per_s", A_SECOND),
        ])
    })
}

/// Measures Debezium in Kafka Connect with the same rows and changes.
pub(crate) fn debezium(bench: &mut Bench) -> Result<Vec<Figure>> {
    let (rows, changes) = sizes(bench);
    on_runtime(async {
        let shop = PrivateServer::with_changes_over_tcp().await;
        let mut db = filled(&shop, rows).await?;
        let debezium = Debezium::start(&Connection::from_uri(SOURCE, &shop.url())?).await?;
        let snapshot = debezium.rate(0, rows).await?;
        let changed = debezium.catches_up(rows, changes, update(&mut db, rows, changes)).await?;
        Ok(vec![
            Figure::new("debezium_snapshot_rows_per_s", snapshot, 1).with("rows", rows),
            Figure::new("debezium_changes_per_s", changed, 1).with("rows", changes),
        ])
    })
}

/// Returns the number of rows and of changes.
fn sizes(bench: &Bench) -> (u64, u64) {
    (bench.times(1_000_000, 20_000) as u64, bench.times(500_000, 10_000) as u64)
}

/// Connects to the source, whose table has `rows` rows.
async fn filled(shop: &PrivateServer, rows: u64) -> Result<PgConnection> {
    let mut db = PgConnection::connect(&shop.url()).await?;
    db.execute("create table orders (id bigint primary key, customer_id int, total numeric(10, 2), note text, ordered_at timestamptz)").await?;
    let insert = "insert into orders
        select n, n % 1000, n % 10000 / 100.0, 'note ' || n, now() from generate_series(1, $1::bigint) n";
    sqlx::query(insert).bind(rows as i64).execute(&mut db).await?;
    Ok(db)
}

fn by_the_mirror() -> [Stream; 2] {
    let capture = Capture::postgres(SOURCE).tables(["public.orders"]).topics(CAPTURE).snapshot_by_mirrors();
    let capture = Stream::new(CAPTURE).capture(capture).commit_every(COMMIT);
    [capture, mirror(MIRROR, CAPTURE).snapshot_from(SOURCE, "public.orders")]
}

fn through_the_topic() -> [Stream; 2] {
    let capture = Capture::postgres(SOURCE).tables(["public.orders"]).topics(TOLD);
    [Stream::new(TOLD).capture(capture).commit_every(COMMIT), mirror(MIRROR_OF_TOLD, TOLD)]
}

fn mirror(name: &str, topics: &str) -> Stream {
    let field = |name, of| Field::new(name, of, true);
    let row = Schema::new(vec![
        field("id", DataType::Int64),
        field("customer_id", DataType::Int32),
        field("total", DataType::Decimal128(10, 2)),
        field("note", DataType::Utf8),
        field("ordered_at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
    ]);
    let table = TableDef::of(&row).expect("the lake has these types").key(["id"]);
    let stream = Stream::new(name).topic(format!("{topics}.orders")).changes(Changes::of(row)).commit_every(COMMIT);
    stream.mirror(format!("bench.{name}").parse().expect("it is a name"), table, &["id"])
}

/// Updates rows spread over the whole table.
async fn update(db: &mut PgConnection, rows: u64, changes: u64) -> Result<()> {
    let sql = "update orders set total = total + 1, note = 'changed ' || id
        where id in (select 1 + (n * ($1 / $3) + $2) % $1 from generate_series(0, $3 - 1) n)";
    for number in 0..changes / A_TRANSACTION {
        let query = sqlx::query(sql).bind(rows as i64).bind(number as i64).bind(A_TRANSACTION as i64);
        let done = query.execute(&mut *db).await?.rows_affected();
        ensure!(done == A_TRANSACTION, "{done} rows were updated");
    }
    Ok(())
}

impl World {
    /// Returns the rows per second into the topic, and from the database into the table of the lake, until a capture
    /// and its mirror have read `all`.
    async fn rates(&self, streams: [Stream; 2], all: u64, rows: u64) -> Result<(f64, f64)> {
        let [capture, mirror] = streams.each_ref().map(|stream| stream.name().to_owned());
        let running = self.start(streams.to_vec());
        let mirror = self.until(&mirror, all).await?;
        let capture = self.until(&capture, all).await?;
        running.end().await;
        ensure!(mirror.quarantined == 0, "{} records are in quarantine", mirror.quarantined);
        let from = capture.started_at.context("it has run")?;
        let rate = |to: Option<chrono::DateTime<chrono::Utc>>| {
            let seconds = (to.context("it has committed")? - from).as_seconds_f64();
            anyhow::Ok(rows as f64 / seconds)
        };
        Ok((rate(capture.last_commit_at)?, rate(mirror.last_commit_at)?))
    }

    /// Returns the milliseconds from a commit at the source until the change is in the table, under a constant rate of
    /// changes.
    async fn delays(&self, db: &mut PgConnection, (rows, before): (u64, u64), seconds: u64) -> Result<Vec<f64>> {
        let running = self.start(by_the_mirror().to_vec());
        let a_tick = A_SECOND * TICK.as_millis() as u64 / 1_000;
        let (mut took, mut done, mut at) = (Vec::new(), before, Instant::now());
        while done < before + A_SECOND * seconds {
            let sql = "update orders set total = total + 1 where id > $1 and id <= $1 + $2";
            let query = sqlx::query(sql).bind((done % rows) as i64).bind(a_tick as i64);
            done += query.execute(&mut *db).await?.rows_affected();
            let start = Instant::now();
            if ((done - before) / a_tick).is_multiple_of(10) {
                self.until(MIRROR, done).await?;
                took.push(start.elapsed().as_secs_f64() * 1e3);
            }
            at += TICK;
            tokio::time::sleep(at.saturating_duration_since(Instant::now())).await;
        }
        running.end().await;
        // The first value includes the start of the streams.
        took.remove(0);
        Ok(took)
    }
}
