//! A worker is frozen, another one takes over its capture, and the first one continues: the changes in Kafka stay in order.

use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch::Connection;
use orch_test_support::{Kafka, PrivateServer};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

const CAPTURE: &str = "taxi-postgres-connector";
#[cfg(feature = "torture")]
const ROUNDS: i32 = 20;
#[cfg(not(feature = "torture"))]
const ROUNDS: i32 = 2;
const TRIPS: &str = "select string_agg(id || ' ' || passenger_count, ',' order by id) from taxi.trips";

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Returns the epoch of the lease of the capture, or 0 while no worker holds it.
async fn epoch(world: &World) -> i64 {
    let epoch = "select epoch from stream where name = $1 and lease_until > now()";
    sqlx::query_scalar(epoch).bind(CAPTURE).fetch_optional(&mut world.db().await).await.unwrap().unwrap_or(0)
}

async fn until_held(world: &World, beyond: i64) -> i64 {
    for _ in 0..600 {
        let epoch = epoch(world).await;
        if epoch > beyond {
            return epoch;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no worker takes the capture: {}", world.said());
}

/// Forty trips change again and again, each time in one transaction.
async fn change(source: &mut PgConnection, times: i32) {
    for _ in 0..times {
        let change = "update taxi.trips set passenger_count = passenger_count + 1 where id <= 40";
        sqlx::query(change).execute(&mut *source).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_writes_no_older_changes_behind_newer_ones() {
    let broker = Kafka::start().await;
    let server = PrivateServer::with_changes_over_tcp().await;
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query("create database taxi_db").execute(&mut admin).await.unwrap();
    let mut world = World::new().await;
    world.set(
        "ORCH_CONN_TOPICS",
        Connection::from_uri("topics", &format!("kafka://{}", broker.address())).unwrap().to_uri(),
    );
    world.set("ORCH_CONN_TAXI_DB", server.url_of("taxi_db"));
    let mut holder = world.start_worker();
    let mut epoch = until_held(&world, 0).await;
    let mut source = connected(&world, &server.url_of("taxi_db")).await;
    let insert = "insert into taxi.trips (passenger_count) select 0 from generate_series(1, 40)";
    sqlx::query(insert).execute(&mut source).await.unwrap();
    world.wait_for("the first trips", &sql("select count(*) from taxi_cdc.trips"), |ended| ended.out.contains("\n40"));
    for round in 0..ROUNDS {
        // It stops in the middle: some changes are read and not written yet.
        change(&mut source, 200 + 37 * round).await;
        signal(holder, Signal::SIGSTOP);
        let next = world.start_worker();
        epoch = until_held(&world, epoch).await;
        change(&mut source, 50).await;
        let (trips,): (String,) = sqlx::query_as(TRIPS).fetch_one(&mut source).await.unwrap();
        let copied = "select string_agg(cast(id as text) || ' ' || cast(passenger_count as text), ',' order by id) from taxi_cdc.trips";
        world.wait_for("the last changes", &sql(copied), |ended| ended.out.contains(&trips));
        signal(holder, Signal::SIGCONT);
        // Time to write what it still had, and for the copy to read it.
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.wait_for("the same trips", &sql(copied), |ended| ended.out.contains(&trips));
        world.kill(holder);
        holder = next;
        epoch = until_held(&world, 0).await.max(epoch);
    }
}

fn sql(statement: &str) -> [&str; 4] {
    ["sql", statement, "-o", "csv"]
}

/// The capture creates the schema before it begins.
async fn connected(world: &World, url: &str) -> PgConnection {
    for _ in 0..300 {
        if let Ok(mut db) = PgConnection::connect(url).await {
            let is_made = "select exists (select from pg_replication_slots where active)";
            if sqlx::query_scalar::<_, bool>(is_made).fetch_one(&mut db).await.unwrap_or(false) {
                return db;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the capture does not begin: {:?}", world.run(&["streams", "show", CAPTURE]));
}
