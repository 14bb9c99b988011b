//! A database of taxi trips that changes every minute, and the stream that captures its changes: `taxi_db_generator`
//! writes trips into `taxi_db`, and `taxi-postgres-connector` copies the changes to the topics `lakehouse.trips`,
//! `lakehouse.payment_types` and `lakehouse.vendors`.

use crate::common::connections::TAXI_DB;
use orch::Connection;
use orch::prelude::*;
use orch_lake::load::ensure_database;
use orch_lake::source::postgres::connect;
use orch_streams::{Capture, Stream};

/// Key of the advisory lock under which the schema is created. No other lock in that database uses it.
const LOCK: i64 = 0x7461_7869;

const SCHEMA: &str = include_str!("sql/database.sql");
const TRIPS: &str = include_str!("sql/generate_trips.sql");
const UPDATES: &str = include_str!("sql/change_trips.sql");
const DELETE: &str = "delete from taxi.trips where id = (select min(id) from taxi.trips)";

/// Returns the capture stream. It is named like the connector in dashboards and checks of Kafka Connect.
pub fn capture() -> Stream {
    let capture = Capture::postgres(TAXI_DB)
        .tables(["taxi.trips", "taxi.payment_types", "taxi.vendors"])
        .slot("orch_taxi")
        .publication("dbz_publication")
        .topics("lakehouse")
        .partitions_of("taxi.trips", 3)
        .prepared_by(|connection| Box::pin(async move { ensure_schema(&connection).await }));
    let text = "Changes of the tables of taxi_db → lakehouse.trips, lakehouse.payment_types and lakehouse.vendors";
    Stream::new("taxi-postgres-connector").describe(text).capture(capture)
}

/// Creates the database, its schema and the publication if they do not exist.
async fn ensure_schema(source: &Connection) -> TaskResult<()> {
    ensure_database(source).await?;
    let db = connect(source).await?;
    let exists = "select to_regclass('taxi.generated') is not null
        and exists (select from pg_publication where pubname = 'dbz_publication')";
    if !db.query_one(exists, &[]).await?.get::<_, bool>(0) {
        db.batch_execute(&format!("begin; select pg_advisory_xact_lock({LOCK}); {SCHEMA} commit")).await?;
    }
    Ok(())
}

/// Writes 100 trips; each fifth batch also changes the tips of up to five, and each tenth deletes the oldest.
#[task(retries = 2, retry_delay = secs(10))]
async fn write_trips(ctx: Ctx) -> TaskResult<u64> {
    let source = ctx.connection(TAXI_DB).await?;
    ensure_schema(&source).await?;
    // A transaction without a commit is rolled back when the session ends.
    let db = connect(&source).await?;
    db.batch_execute("begin").await?;
    let begin = "insert into taxi.generated (run_id) values ($1) on conflict do nothing returning batch";
    let Some(batch) = db.query_opt(begin, &[&ctx.run_id().to_string()]).await? else {
        ctx.info("an earlier attempt has written this batch");
        return Ok(0);
    };
    let batch: i64 = batch.get(0);
    let mut changes = 0;
    for (every, statement) in [(1, TRIPS), (5, UPDATES), (10, DELETE)] {
        if batch % every == 0 {
            changes += db.execute(statement, &[]).await?;
        }
    }
    db.batch_execute("commit").await?;
    ctx.info(format!("batch {batch}: {changes} changes"));
    Ok(changes)
}

pub fn taxi_db_generator() -> Dag {
    dag("taxi_db_generator")
        .describe("Writes trips into `taxi_db`, whose changes the stream `taxi-postgres-connector` captures")
        .schedule(cron("* * * * *"))
        .start("2025-01-01")
        .tags(["taxi", "cdc"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            d.add(write_trips());
        })
}
