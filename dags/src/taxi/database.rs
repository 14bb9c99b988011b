//! A database of taxi trips that changes all the time, and the stream that captures its changes: `taxi_db_generator` writes trips into
//! `taxi_db`, and `taxi-postgres-connector` brings them to the topics `lakehouse.trips`, `lakehouse.payment_types` and
//! `lakehouse.vendors`.

use crate::common::connections::TAXI_DB;
use orch::Connection;
use orch::prelude::*;
use orch_lake::load::ensure_database;
use orch_lake::source::postgres::connect;
use orch_streams::{Capture, Stream};

/// The name that dashboards and checks of Kafka Connect ask for.
pub const STREAM: &str = "taxi-postgres-connector";
/// Topics are `lakehouse.trips` and so on.
const TOPICS: &str = "lakehouse";
const PARTITIONS_OF_TRIPS: i16 = 3;
/// Two who make the schema at once wait for each other. Any number that no other lock of that database has.
const LOCK: i64 = 0x7461_7869;

/// The source: trips with what they name. Old rows are told whole.
const SCHEMA: &str = "
create schema if not exists taxi;
create table if not exists taxi.payment_types (id integer primary key, name text not null, description text);
create table if not exists taxi.vendors (id integer primary key, name text not null, description text);
create table if not exists taxi.trips (
    id serial primary key,
    vendor_id integer,
    pickup_datetime timestamp,
    dropoff_datetime timestamp,
    passenger_count integer,
    trip_distance decimal(8,2),
    pickup_longitude decimal(18,14),
    pickup_latitude decimal(18,14),
    dropoff_longitude decimal(18,14),
    dropoff_latitude decimal(18,14),
    payment_type integer,
    fare_amount decimal(8,2),
    extra decimal(8,2),
    mta_tax decimal(8,2),
    tip_amount decimal(8,2),
    tolls_amount decimal(8,2),
    total_amount decimal(8,2),
    created_at timestamp not null default now(),
    updated_at timestamp not null default now()
);
-- Batches that were written: a try that comes again writes none twice.
create table if not exists taxi.generated (run_id text primary key, batch bigint not null generated always as identity);
create or replace function taxi.touch() returns trigger language plpgsql as $$
begin
    new.updated_at = now();
    return new;
end $$;
create or replace trigger touch before update on taxi.trips for each row execute function taxi.touch();
alter table taxi.trips replica identity full;
alter table taxi.payment_types replica identity full;
alter table taxi.vendors replica identity full;
insert into taxi.payment_types (id, name, description) values
    (1, 'Credit card', 'Paid by credit card'), (2, 'Cash', 'Paid in cash'), (3, 'No charge', 'Nothing was charged'),
    (4, 'Dispute', 'The fare is disputed'), (5, 'Unknown', 'Not known'), (6, 'Voided trip', 'The trip was voided')
    on conflict do nothing;
insert into taxi.vendors (id, name, description) values
    (1, 'Creative Mobile Technologies', 'CMT'), (2, 'VeriFone', 'VTS'), (3, 'Digital Dispatch Systems', 'DDS')
    on conflict do nothing;
do $$ begin
    if not exists (select from pg_publication where pubname = 'dbz_publication') then
        create publication dbz_publication for table taxi.trips, taxi.payment_types, taxi.vendors;
    end if;
end $$;
";

/// Trips of the last minutes, somewhere in the city.
const TRIPS: &str = "
insert into taxi.trips (vendor_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, pickup_longitude, pickup_latitude,
    dropoff_longitude, dropoff_latitude, payment_type, fare_amount, extra, mta_tax, tip_amount, tolls_amount, total_amount)
select vendor, now() - lasts, now(), guests, miles, -74.01 + 0.24 * a, 40.65 + 0.2 * b, -74.01 + 0.24 * c, 40.65 + 0.2 * d, pays, fare,
    extra, 0.5, tip, tolls, fare + extra + 0.5 + tip + tolls
from (
    select 1 + floor(random() * 3)::int as vendor, lasts, 1 + floor(random() * 4)::int as guests, miles, random() as a, random() as b,
        random() as c, random() as d, pays, fare, extra, tolls, case when pays = 1 then round(fare * 0.2, 2) else 0 end as tip
    from (
        select miles, make_interval(secs => 120 + 240 * miles::float8) as lasts, round(3 + 2.5 * miles, 2) as fare,
            (array[0, 0.5, 1])[1 + floor(random() * 3)::int] as extra, case when random() < 0.1 then 6.55 else 0 end as tolls,
            case when random() < 0.7 then 1 else 2 + floor(random() * 3)::int end as pays
        from (select round((0.5 + 12 * random() * random())::numeric, 2) as miles from generate_series(1, 100)) n
    ) costs
) trips";

const UPDATES: &str = "
update taxi.trips t set tip_amount = t.tip_amount + 1, total_amount = t.total_amount + 1
from (select id from taxi.trips order by id desc limit 500) recent
where t.id = recent.id and t.id in (select id from (select id from taxi.trips order by id desc limit 500) r
    order by random() limit 1 + floor(random() * 5)::int)";

const DELETE: &str = "delete from taxi.trips where id = (select min(id) from taxi.trips)";

pub fn dags() -> Vec<Dag> {
    vec![taxi_db_generator()]
}

/// The changes of `taxi_db`.
pub fn streams() -> Vec<Stream> {
    let tables = ["taxi.trips", "taxi.payment_types", "taxi.vendors"];
    let capture = Capture::postgres(TAXI_DB)
        .tables(tables)
        .slot("orch_taxi")
        .publication("dbz_publication")
        .topics(TOPICS)
        .partitions_of("taxi.trips", PARTITIONS_OF_TRIPS)
        .prepared_by(|connection| Box::pin(async move { ensure_schema(&connection).await }));
    let text = "Changes of the tables of taxi_db → lakehouse.trips, lakehouse.payment_types and lakehouse.vendors";
    vec![Stream::new(STREAM).describe(text).capture(capture)]
}

/// The database, its schema and the publication, if they are not there.
async fn ensure_schema(source: &Connection) -> TaskResult<()> {
    ensure_database(source).await?;
    let db = connect(source).await?;
    let is_there = "select to_regclass('taxi.generated') is not null
        and exists (select from pg_publication where pubname = 'dbz_publication')";
    if !db.query_one(is_there, &[]).await?.get::<_, bool>(0) {
        db.batch_execute(&format!("begin; select pg_advisory_xact_lock({LOCK}); {SCHEMA} commit")).await?;
    }
    Ok(())
}

/// Writes 100 trips; each fifth batch also changes the tips of up to five, and each tenth deletes the oldest.
#[task(retries = 2, retry_delay = secs(10))]
async fn write_trips(ctx: Ctx) -> TaskResult<u64> {
    let source = ctx.connection(TAXI_DB).await?;
    ensure_schema(&source).await?;
    // What is not committed ends with the session.
    let db = connect(&source).await?;
    db.batch_execute("begin").await?;
    let begun = "insert into taxi.generated (run_id) values ($1) on conflict do nothing returning batch";
    let Some(batch) = db.query_opt(begun, &[&ctx.run_id().to_string()]).await? else {
        ctx.info("an earlier try has written this batch");
        return Ok(0);
    };
    let batch: i64 = batch.get(0);
    let mut changes = db.execute(TRIPS, &[]).await?;
    if batch % 5 == 0 {
        changes += db.execute(UPDATES, &[]).await?;
    }
    if batch % 10 == 0 {
        changes += db.execute(DELETE, &[]).await?;
    }
    db.batch_execute("commit").await?;
    ctx.info(format!("batch {batch}: {changes} changes"));
    Ok(changes)
}

fn taxi_db_generator() -> Dag {
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
