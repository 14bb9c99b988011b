//! The taxi pipeline with real processes and a file server: golden results of 37 months, even if processes are killed.

mod faults;
mod runs;
mod server;

use crate::data;
use crate::world::World;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use orch_lake::TableDef;
use orch_lake::batches::Batches;
use serde_json::{Value, json};
pub(crate) use server::Files;
use std::sync::Arc;

const DAG: &str = "nyc_taxi_iceberg_etl";

/// Returns the file name of a month on the server.
fn name(month: &str) -> String {
    format!("yellow_tripdata_sample_{month}")
}

/// Returns a file of the repository, still compressed.
fn file(month: &str) -> Vec<u8> {
    let folder = data::folder().join("taxi");
    let packed = folder.join(format!("{}.csv.gz", name(month)));
    let path = if packed.exists() { packed } else { folder.join(format!("{}.parquet", name(month))) };
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn months_of(year: u16) -> Vec<String> {
    (1..=12).map(|month| format!("{year}-{month:02}")).collect()
}

fn conf(months: &[impl AsRef<str>]) -> Value {
    json!({ "months": months.iter().map(AsRef::as_ref).collect::<Vec<_>>() })
}

/// Returns a world with a worker and a scheduler that loads files from a server.
async fn world_of(files: &Files) -> World {
    let mut world = World::new().await;
    world.set("ORCH_CONN_NYC_TAXI", format!("{}?template=yellow_tripdata_sample_YYYY-MM", files.address()));
    add_zones(&world).await;
    world.at_work()
}

/// Adds the 265 zones, which another pipeline usually loads.
async fn add_zones(world: &World) {
    let text = data::text("taxi/taxi_zone_lookup.csv");
    let cells: Vec<Vec<&str>> =
        text.lines().skip(1).map(|line| line.split(',').map(|cell| cell.trim_matches('"')).collect()).collect();
    let texts = |at: usize| -> ArrayRef { Arc::new(cells.iter().map(|line| Some(line[at])).collect::<StringArray>()) };
    let ids: Int32Array = cells.iter().map(|line| line[0].parse::<i32>().ok()).collect();
    let columns: [(&str, ArrayRef); 3] = [("location_id", Arc::new(ids)), ("borough", texts(1)), ("zone", texts(2))];
    let zones = RecordBatch::try_from_iter(columns).unwrap();
    let lake = world.lake();
    let table = lake.ensure(&"reference.taxi_zones".parse().unwrap(), &TableDef::of(&zones.schema()).unwrap()).await;
    let change = table.unwrap().append(Batches::from(zones)).await.unwrap();
    change.commit(&lake).await.unwrap();
}

/// Compares the result of a query on the lake with the result of DuckDB on the files.
#[track_caller]
fn assert_golden(world: &World, golden: &str, sql: &str) {
    let found = world.run(&["sql", sql, "-o", "csv", "--limit", "5000"]).done();
    assert_same(golden, &found);
}

/// Compares numbers to the last bit, ignoring trailing zeros.
#[track_caller]
fn assert_same(golden: &str, found: &str) {
    let text = data::text(&format!("taxi/golden/{golden}.csv"));
    let cells = |line: &str| line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect::<Vec<_>>();
    let number = |cell: &str| cell.parse::<f64>().map(f64::to_bits).ok();
    let same = |a: &String, b: &String| a == b || (number(a).is_some() && number(a) == number(b));
    for (at, (found, golden_line)) in found.lines().zip(text.lines()).enumerate() {
        let (one, other) = (cells(found), cells(golden_line));
        let all = one.len() == other.len() && one.iter().zip(&other).all(|(a, b)| same(a, b));
        assert!(all, "line {} of `{golden}`:\n{found}\n{golden_line}", at + 1);
    }
    assert_eq!(found.lines().count(), text.lines().count(), "lines of `{golden}`");
}

/// Compares the trips of 2019 with the golden files.
#[track_caller]
fn assert_2019_is_golden(world: &World) {
    assert_golden(
        world,
        "taxi_daily_summary_2019",
        "select trip_date, total_trips, total_passengers, avg_trip_distance, avg_fare_amount, avg_tip_amount,
            avg_total_amount from nyc_taxi.daily_summary where year = 2019 order by 1",
    );
    assert_golden(
        world,
        "taxi_hourly_2019-01",
        "select to_char(date_trunc('hour', pickup_datetime), '%Y-%m-%d %H:%M:%S') as hour, count(*) as trips,
            sum(total_amount) as total, sum(fare_amount) as fare from nyc_taxi.trips
            where pickup_datetime >= '2019-01-01' and pickup_datetime < '2019-02-01' group by 1 order by 1",
    );
    assert_golden(
        world,
        "taxi_trips_per_pickup_zone_2019",
        "select pickup_location_id as location_id, borough, zone, count(*) as trips, sum(fare_amount) as fare,
            sum(total_amount) as total from nyc_taxi.trips left join reference.taxi_zones
            on pickup_location_id = location_id where year = 2019 group by 1, 2, 3 order by 1",
    );
}

/// Compares the sample of 2025 with our golden files and with published ones.
async fn assert_2025_is_golden(world: &World) {
    assert_golden(
        world,
        "taxi_2025-02_daily",
        "select cast(pickup_datetime as date) as d, count(*) as n, sum(total_amount) as revenue from nyc_taxi.trips
            where year = 2025 group by 1 order by 1",
    );
    let facts = "select (found->>'rows')::int as n_rows, (found->>'null_passenger')::int as null_pc, rows as clean_rows
        from lake.etl_control where month = '2025-02-01'";
    let golden = data::text("taxi/golden/taxi_2025-02_facts.csv");
    let golden: Vec<&str> = golden.lines().map(|line| line.rsplit_once(',').unwrap().0).collect();
    assert_eq!(world.csv(facts).await.lines().collect::<Vec<_>>(), golden);
    others_count_the_same(world);
}

/// Compares daily statistics with those that a third party published for the same file, with slightly different rules.
#[track_caller]
fn others_count_the_same(world: &World) {
    let sql = "select cast(pickup_datetime as date) as trip_date, count(*) as total_trips,
            sum(total_amount) as total_revenue, avg(cast(trip_distance as double)) as avg_distance,
            avg(cast(total_amount as double)) as avg_fare,
            avg(floor((cast(to_unixtime(dropoff_datetime) as double) - to_unixtime(pickup_datetime)) / 60)) as avg_duration,
            case when date_part('dow', min(pickup_datetime)) in (0, 6) then 100.0 else 0.0 end as weekend_percentage
        from nyc_taxi.trips where year = 2025 and pickup_datetime < dropoff_datetime group by 1 order by 1";
    let found = world.run(&["sql", sql, "-o", "csv"]).done();
    let golden = data::text("taxi/golden/other_gliuck_daily_trip_stats_2025-02.csv");
    for (found, golden) in found.lines().zip(golden.lines()).skip(1) {
        let (found, golden): (Vec<&str>, Vec<&str>) = (found.split(',').collect(), golden.split(',').collect());
        let number = |cell: &str| cell.parse::<f64>().unwrap();
        assert_eq!(found[..2], golden[..2]);
        assert!((number(found[2]) - number(golden[2])).abs() < 0.005, "{found:?} {golden:?}");
        // The published values are rounded to hundredths.
        for at in 3..6 {
            assert!((number(found[at]) - number(golden[at])).abs() < 0.005_001, "{found:?} {golden:?}");
        }
        assert!((number(found[6]) - number(golden[6])).abs() < 0.005, "{found:?} {golden:?}");
    }
    assert_eq!(found.lines().count(), golden.lines().count());
}

/// Returns the metadata locations of the tables, which change with every commit.
async fn snapshots(world: &World) -> String {
    let tables = "select table_name, metadata_location from lake.iceberg_tables where table_namespace = 'nyc_taxi'";
    world.csv(&format!("{tables} order by 1")).await
}

/// Returns the log of a failed task, or of its first element if the task is mapped.
fn log(world: &World, task: &str, run: &str) -> String {
    let element = if task == "extract_taxi_data" || task == "update_control_table" { "-1" } else { "0" };
    let logs = ["tasks", "logs", DAG, task, run, "--map-index", element];
    let said = world.wait_for("the log", &logs, |ended| !ended.err.is_empty());
    said.out + &said.err
}
