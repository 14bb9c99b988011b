//! External faults: each error names the address and the field, nothing is published, the next valid response repairs
//! the data, and the API key appears nowhere.

use super::api::{Api, KEY, Mood, ago};
use super::{DAG, of_new_york, sql, tables};
use crate::world::World;
use serde_json::json;
use sqlx::Row as _;
use std::path::Path;

async fn world_of(api: &Api) -> World {
    let mut world = World::new().await;
    world.set("ORCH_CONN_WEATHER_API", api.uri("open-meteo", ""));
    let world = world.at_work();
    world.run(&["dags", "unpause", DAG]).done();
    // Wait for a scheduled run.
    let done = ["dags", "list-runs", DAG, "--state", "success", "-o", "json"];
    world.wait_for("the first run", &done, |ended| ended.out.contains("scheduled__"));
    world
}

/// Returns each API behavior with the log messages of the first task, and whether it fails the run, which is then
/// cleared.
fn faults() -> Vec<(&'static str, Mood, &'static [&'static str], bool)> {
    let says = |status, headers, body: &str| Mood::Says(status, headers, body.into());
    vec![
        ("refused", says("401 Unauthorized", "", "{}"), &["v1/forecast` answers 401", "hint: look at login"], true),
        (
            "hurried",
            says("429 Slow Down", "retry-after: 1\r\n", ""),
            &["v1/forecast` answers 429: asking again"],
            false,
        ),
        ("broken", says("500 Oh", "", ""), &["v1/forecast` answers 500: asking again"], false),
        ("silent", Mood::Silent, &["v1/forecast` does not answer: asking again"], false),
        ("garbage", says("200 OK", "", "<html>Sorry"), &["v1/forecast` answers 11 bytes that are not JSON"], false),
        (
            "field",
            Mood::Changed(|answer| {
                answer["hourly"].as_object_mut().unwrap().remove("temperature_2m");
            }),
            &["v1/forecast` answers for `New York` without `/hourly/temperature_2m/0`", "it has no number there"],
            true,
        ),
        (
            "type",
            Mood::Changed(|answer| answer["hourly"]["weather_code"][3] = json!("sunny")),
            &["without `/hourly/weather_code/3`: it has no whole number there"],
            true,
        ),
        ("other", says("200 OK", "", r#"{"error": true}"#), &["without `/hourly/time`", "it tells `error`"], true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_named_publishes_nothing_and_is_mended() {
    let api = Api::start(Mood::Good).await;
    let world = world_of(&api).await;
    for (run, mood, words, is_over) in faults() {
        let before = tables(&world).await;
        api.is(mood);
        world.run(&["dags", "trigger", DAG, "--run-id", run, "--conf", &of_new_york(24).to_string()]).done();
        world.wait_for(run, &["tasks", "logs", DAG, "fetch_weather", run, "--try", "1"], |ended| {
            words.iter().all(|word| ended.out.contains(word) || ended.err.contains(word))
        });
        assert_eq!(tables(&world).await, before, "{run}: something was published");
        if is_over {
            world.run(&["runs", "wait", DAG, run]).failed();
            api.is(Mood::Good);
            world.run(&["tasks", "clear", DAG, "--run-id", run, "--only-failed", "--yes"]).done();
        }
        api.is(Mood::Good);
        world.wait_good(DAG, run);
    }
    assert!(api.asked().iter().all(|line| line.contains(KEY)), "the key goes out with each request");
    assert_seen_nowhere(&world).await;
}

/// Asserts that the API key is not in the output of processes, in logs or elsewhere in the database, or in any object
/// or file.
async fn assert_seen_nowhere(world: &World) {
    assert!(!world.said().contains(KEY));
    let mut db = world.db().await;
    let tables = "select format('%I.%I', table_schema, table_name) from information_schema.tables
        where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')";
    for table in sqlx::query(tables).fetch_all(&mut db).await.unwrap() {
        let table: String = table.get(0);
        let count = format!("select count(*) from {table} x where x::text like '%{KEY}%'");
        let found: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut db).await.unwrap();
        assert_eq!(found, 0, "{table}");
    }
    assert_not_in(world.path());
}

fn assert_not_in(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_not_in(&path);
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_goes_aside_holes_are_told_and_both_are_mended() {
    let api = Api::start(Mood::Good).await;
    let world = world_of(&api).await;
    // The scheduled run loaded the hours of all default cities.
    let good = "select count(*) from weather.hourly_weather where location = 'New York'";
    let counts = format!("select ({good}) as good, count(*) as aside from weather.hourly_weather_quarantine");
    let all = sql(&world, good).remove(0);

    // One hour has an impossible temperature, one has none, and one is an outlier.
    api.is(Mood::Changed(|answer| {
        let (odd, hole) = (ago(answer, 1), ago(answer, 4));
        answer["hourly"]["temperature_2m"][odd] = json!(999.0);
        answer["hourly"]["temperature_2m"][hole] = json!(null);
    }));
    world.good(DAG, "odd", &of_new_york(6));
    assert_eq!(sql(&world, &counts), [format!("{all},1")], "the good hours of before stay");
    let reason = sql(&world, "select temperature_celsius, quarantine_reason from weather.hourly_weather_quarantine");
    assert!(reason[0].starts_with("999.0,") && reason[0].contains("temperature_celsius"), "{reason:?}");
    let log = world.run(&["tasks", "logs", DAG, "validate", "odd"]).done();
    assert!(log.contains("1 hours are missing: New York 2") && log.contains("1 of 5 rows"), "{log}");

    // Input rows equal output rows plus quarantined rows, both in lineage and in the checks.
    let ways = "select regexp_replace(to_uri, '.*/', '') as to, rows from lineage where run_id = 'odd'
        and to_uri like 'lake://weather/%' order by 1";
    assert_eq!(world.csv(ways).await, "to,rows\nhourly_weather,4\nhourly_weather_quarantine,1\n");
    let checks =
        "select kind, outcome, rows, bad from asset_check where run_id = 'odd' and outcome <> 'pass' order by 1";
    assert_eq!(world.csv(checks).await, "kind,outcome,rows,bad\ncontinuity,warn,4,2\nrule,quarantined,5,1\n");

    // A valid response for the same hours empties the quarantine.
    api.is(Mood::Good);
    world.good(DAG, "mended", &of_new_york(6));
    assert_eq!(sql(&world, &counts), [format!("{all},0")]);

    // A response without hours is an error.
    api.is(Mood::Changed(|answer| answer["hourly"]["time"] = json!([])));
    let before = tables(&world).await;
    world.trigger(DAG, "none", &of_new_york(24)).failed();
    let log = world.log(DAG, "validate", "none");
    assert!(log.contains("the source returned no hour") && log.contains("24 hours are missing"), "{log}");
    assert_eq!(tables(&world).await, before);
}

/// A check across two pipelines finds a trip that starts in no zone.
#[tokio::test(flavor = "multi_thread")]
async fn trips_of_no_zone_are_told() {
    let world = World::new().await.at_work();
    world.run(&["dags", "trigger", "nyc_cross_checks", "--run-id", "early", "--wait"]).done();
    let early = world.run(&["tasks", "state", "nyc_cross_checks", "trips_against_zones", "early"]).done();
    assert_eq!(early, "skipped\n");
    world.run(&["dags", "unpause", DAG]).done();
    world.good(DAG, "zones", &json!({}));

    let lake = world.lake();
    let name = "nyc_taxi.trips".parse().unwrap();
    let columns = ["pickup_location_id", "dropoff_location_id"];
    let definition = columns
        .iter()
        .fold(orch_lake::TableDef::new(), |table, column| table.optional(column, iceberg::spec::PrimitiveType::Int));
    let table = lake.create(&name, &definition).await.unwrap();
    let trips = ["1 265", "132 138", "266 7", "- 0"].map(orch_test_lake::rows::row);
    let batch = orch_test_lake::rows::batch(&columns, &trips.to_vec());
    table.append(batch).await.unwrap().commit(&lake).await.unwrap();
    world.good("nyc_cross_checks", "trips", &json!({}));
    let found = "select name, outcome, rows, bad from asset_check where uri = 'lake://nyc_taxi/trips' order by 1";
    assert_eq!(
        world.csv(found).await,
        "name,outcome,rows,bad\n\
         dropoff_location_id is in lake://reference/taxi_zones,warn,4,1\n\
         pickup_location_id is in lake://reference/taxi_zones,warn,4,1\n"
    );
}
