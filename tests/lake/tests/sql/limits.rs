//! Limits of queries: rows, bytes, time, memory and cancellation.

use crate::world::{World, world_with};
use orch_lake_sql::SqlLimits;
use orch_store::lake_view::{LakeError, LakeView as _, Query, QueryLimits};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A query that computes for minutes without reading any data.
const ENDLESS: &str = "select count(*) from generate_series(1, 3000000) a, generate_series(1, 3000000) b \
                       where a.value * b.value % 7 = 3";

fn usual() -> QueryLimits {
    QueryLimits::default()
}

#[tokio::test]
async fn rows_and_bytes_are_cut_and_said_to_be() {
    let world = World::with_orders().await;
    for (rows, bytes, kept, more) in
        [(1_000, 1 << 20, 900, false), (900, 1 << 20, 900, false), (10, 1 << 20, 10, true), (1_000, 95, 10, true)]
    {
        let limits = QueryLimits { rows, bytes, ..usual() };
        let answer = world.ask_within("select id from retail.orders", limits).await.expect("an answer");
        assert_eq!((answer.rows.len(), answer.more), (kept, more), "{rows} rows, {bytes} bytes");
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended() {
    let world = World::with_orders().await;
    let began = Instant::now();
    let limits = QueryLimits { time: Duration::from_millis(300), ..usual() };
    let error = world.ask_within(ENDLESS, limits).await.expect_err("it is ended");
    assert!(matches!(&error, LakeError::TooDear(text) if text.contains("longer than 0.3 s")), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(world.lines("select count(*) from retail.orders").await, ["900"]);
}

#[tokio::test]
async fn a_query_that_needs_too_much_memory_is_ended_and_others_go_on() {
    let world = world_with(SqlLimits { memory_bytes: 4 << 20, ..SqlLimits::default() }).await;
    world.fill().await;
    let sorted = "select value, lpad('', 100, 'x') as wide from generate_series(1, 2000000) order by value desc";
    let error = world.ask(sorted).await.expect_err("it is too much");
    assert!(matches!(&error, LakeError::TooDear(text) if text.contains("memory")), "{error}");
    assert_eq!(world.lines("select max(id) from retail.orders").await, ["899"]);
}

#[tokio::test]
async fn a_query_ends_when_somebody_says_so() {
    let world = World::with_orders().await;
    let stop = CancellationToken::new();
    let query = Query::new(ENDLESS, usual());
    let mut rows = world.sql.query(query, stop.clone()).await.expect("it begins");
    stop.cancel();
    assert_eq!(rows.next().await.expect_err("it was cancelled"), LakeError::Cancelled);
    assert_eq!(world.lines("select count(*) from retail.orders").await, ["900"]);
}
