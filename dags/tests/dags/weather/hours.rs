//! Overlapping runs, hours that clocks repeat or skip, and other readers than orch.

use super::{DAG, new_york, of_new_york, sql};
use crate::world::World;
use orch_dags::common::nyc::zones::zones;
use orch_dags::weather::hourly::hours::hours_until;
use orch_dags::weather::hourly::readings::{Series, rows};
use orch_dags::weather::hourly::sample::Sample;
use orch_test_lake::rows::printed;
use serde_json::json;

const COLUMNS: [&str; 8] =
    ["timestamp", "location", "temperature_celsius", "weather_condition", "uv_index", "day", "hour", "is_weekend"];

/// Two days of hourly runs of 24 hours each, over the night in which New York sets clocks back, with a worker that is
/// killed.
#[tokio::test(flavor = "multi_thread")]
async fn two_days_of_runs_that_overlap_leave_one_row_for_each_hour() {
    let mut world = World::new().await.at_work();
    world.run(&["dags", "unpause", DAG]).done();
    let days = ["--from-date", "2025-11-01T13:00:00Z", "--to-date", "2025-11-03T12:00:00Z"];
    let conf = of_new_york(24).to_string();
    world.run(&[&["backfill", "create", "--dag-id", DAG, "--dag-run-conf", &conf], &days[..]].concat()).done();
    let done = ["dags", "list-runs", DAG, "--state", "success", "-o", "json"];
    world.wait_for("some runs", &done, |ended| ended.out.matches("backfill__").count() >= 5);
    let worker = world.first_worker();
    world.kill(worker);
    world.start_worker();
    world.run(&["backfill", "wait", "1"]).done();

    // Expected rows: the generated weather of these hours, each hour once.
    let last = "2025-11-03T12:00:00Z".parse().unwrap();
    let location = new_york();
    let zone = location.clock().unwrap();
    let told = hours_until(last, 71).into_iter().map(|hour| Sample::default().reading(&location, zone, hour));
    let expected = rows(&[Series::of(location.clone(), told).unwrap()], last).unwrap();
    let places: Vec<usize> = COLUMNS.iter().map(|name| expected.schema().index_of(name).unwrap()).collect();
    let expected = printed(&[expected.project(&places).unwrap()]);
    assert_eq!(expected.len(), 71);

    // The first scheduled run loaded hours of today.
    let filter = orch_lake::Filter::lt("timestamp", "2025-11-04T00:00:00Z");
    let table = world.lake().table(&"weather.hourly_weather".parse().unwrap()).await.unwrap();
    let found = table.scan().columns(COLUMNS).filter(filter.clone()).collect().await.unwrap();
    assert_eq!(printed(&found), expected);

    let whole = printed(&table.scan().filter(filter).collect().await.unwrap());
    let mut python = world.python();
    let same = python.rows("weather.hourly_weather", &json!({ "filter": "timestamp < '2025-11-04T00:00:00+00:00'" }));
    assert_eq!(same, whole, "PyIceberg reads something else");
    let described = python.ask(&json!({ "ask": "describe", "table": "weather.hourly_weather" }));
    let by = json!([["year", "identity"], ["month", "identity"], ["day", "identity"]]);
    assert_eq!(described["partition"], by);

    // That Sunday has 25 hours in New York, with 1:00 twice.
    let hours = sql(
        &world,
        "select hour, count(*) from weather.hourly_weather where year = 2025 and day = 2 group by 1 order by 1",
    );
    assert_eq!(hours.len(), 24);
    assert_eq!((hours[0].as_str(), hours[1].as_str(), hours[2].as_str()), ("0,1", "1,2", "2,1"));

    // The zones were written once: later runs found no change.
    let zones = zones().unwrap();
    let rows = sql(&world, "select location_id, zone, geometry is null from reference.taxi_zones order by 1");
    let all: Vec<String> =
        zones.iter().map(|zone| format!("{},{},{}", zone.location_id, zone.zone, zone.outline.is_none())).collect();
    assert_eq!(rows, all);
    assert_eq!(sql(&world, "select count(*) from reference.\"taxi_zones$snapshots\""), ["1"]);
}

/// Whichever step a worker is killed in, the next worker completes the tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_every_step_leaves_whole_tables() {
    let mut world = World::new().await.at_work();
    let mut worker = world.first_worker();
    world.run(&["dags", "unpause", DAG]).done();
    let conf = of_new_york(48).to_string();
    let date = ["--logical-date", "2025-06-10T12:00:00Z", "--run-id", "shaken", "--conf", &conf];
    world.run(&[&["dags", "trigger", DAG], &date[..]].concat()).done();
    for task in ["fetch_weather", "create_locations", "validate", "weather_to_iceberg", "location_to_iceberg"] {
        let state = ["tasks", "state", DAG, task, "shaken"];
        world.wait_for(task, &state, |ended| ["running\n", "success\n"].contains(&ended.out.as_str()));
        world.kill(worker);
        worker = world.start_worker();
    }
    world.wait_good(DAG, "shaken");
    let hours = "select count(*), count(distinct timestamp), min(timestamp) < '2025-06-08T13:00:01Z'
        from weather.hourly_weather where year = 2025";
    assert_eq!(sql(&world, hours), ["48,48,true"]);
    assert_eq!(sql(&world, "select count(*), count(distinct location_id) from reference.taxi_zones"), ["265,265"]);
}

/// In spring clocks skip an hour, and the checks do not report it as missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_23_hours_is_whole() {
    let world = World::new().await.at_work();
    world.run(&["dags", "unpause", DAG]).done();
    let conf = of_new_york(48).to_string();
    let date = ["--logical-date", "2025-03-10T12:00:00Z", "--run-id", "spring", "--conf", &conf, "--wait"];
    world.run(&[&["dags", "trigger", DAG], &date[..]].concat()).done();
    let hours =
        sql(&world, "select hour from weather.hourly_weather where year = 2025 and month = 3 and day = 9 order by 1");
    assert_eq!(hours.len(), 23);
    assert!(!hours.contains(&"2".to_string()), "{hours:?}");
    let holes = "select outcome from asset_check where kind = 'continuity' and run_id = 'spring'";
    assert_eq!(world.csv(holes).await, "outcome\npass\n");
}
