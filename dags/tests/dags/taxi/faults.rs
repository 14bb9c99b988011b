//! External faults: each causes a clear error that names file, row or column, nothing is published, and after the
//! repair the same run succeeds.

use super::server::Files;
use super::{DAG, conf, file, log, snapshots, world_of};
use crate::world::World;
use flate2::read::GzDecoder;
use std::io::Read as _;

const MONTH: &str = "2019-02";

fn text(month: &str) -> String {
    let mut text = String::new();
    GzDecoder::new(&file(month)[..]).read_to_string(&mut text).unwrap();
    text
}

/// Returns the text with another value in one column of a line. Lines count from 1.
fn with_cell(text: &str, line: usize, column: &str, value: &str) -> String {
    let at = text.lines().next().unwrap().split(',').position(|name| name == column).unwrap();
    let change = |(number, old): (usize, &str)| {
        let mut cells: Vec<&str> = old.split(',').collect();
        if number + 1 == line {
            cells[at] = value;
        }
        cells.join(",") + "\n"
    };
    text.lines().enumerate().map(change).collect()
}

async fn assert_february_is_good(world: &World) {
    let rows = "select to_char(month, 'YYYY-MM'), state, rows from lake.etl_control order by 1";
    assert!(world.csv(rows).await.contains("2019-02,done,8347"), "{}", world.csv(rows).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_named_and_publishes_nothing() {
    let files = Files::of(&[MONTH, "2025-02"]).await;
    let world = world_of(&files).await;
    world.good(DAG, "good", &conf(&[MONTH, "2025-02"]));
    assert_february_is_good(&world).await;
    let (before, whole, parquet) = (snapshots(&world).await, text(MONTH), file("2025-02"));
    let header = whole.lines().next().unwrap();
    let faults: [(&str, &str, Vec<u8>, &[&str]); 9] = [
        (
            "a column is missing",
            "validate_data",
            whole.replacen("trip_distance", "way", 1).into_bytes(),
            &["yellow_tripdata_sample_2019-02` has no column `trip_distance`", "hint: its columns are vendor_id,"],
        ),
        (
            "a number is a word",
            "validate_data",
            with_cell(&whole, 7_003, "fare_amount", "cheap").into_bytes(),
            &["yellow_tripdata_sample_2019-02`, line 7003: column `fare_amount`"],
        ),
        (
            "half a passenger",
            "validate_data",
            with_cell(&whole, 5, "passenger_count", "1.5").into_bytes(),
            &["line 5: column `passenger_count` must be a whole number"],
        ),
        (
            "a day that is none",
            "validate_data",
            with_cell(&whole, 9_000, "pickup_datetime", "2019-02-30 00:00:00").into_bytes(),
            &["line 9000: column `pickup_datetime`"],
        ),
        (
            "an empty month",
            "validate_data",
            format!("{header}\n").into_bytes(),
            &["sample_2019-02` has no rows", "hint:"],
        ),
        ("nothing at all", "validate_data", Vec::new(), &["sample_2019-02` has no column `vendor_id`"]),
        ("a page of a server", "validate_data", b"<html>Busy</html>\n".to_vec(), &["has no column", "<html>"]),
        ("half a gzip", "validate_data", file(MONTH)[..100_000].to_vec(), &["is no whole gzip file", "hint:"]),
        ("half a Parquet file", "validate_data", parquet[..100_000].to_vec(), &["is no whole Parquet file", "hint:"]),
    ];
    let mut last = String::new();
    for (number, (what, task, bytes, words)) in faults.into_iter().enumerate() {
        let run = format!("bad_{number}");
        files.put(MONTH, bytes);
        world.trigger(DAG, &run, &conf(&[MONTH])).failed();
        let log = log(&world, task, &run);
        for word in words {
            assert!(log.contains(word), "{what}: `{word}` is not in\n{log}");
        }
        assert_eq!(snapshots(&world).await, before, "{what}: something was published");
        last = run;
    }
    // Clear all tasks of the same run after the repair, because the downloaded file is the broken one.
    files.put(MONTH, file(MONTH));
    world.run(&["tasks", "clear", DAG, "--run-id", &last, "--yes"]).done();
    world.wait_good(DAG, &last);
    assert_february_is_good(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_waited_for_or_named() {
    let files = Files::start().await;
    let world = world_of(&files).await;
    // A named month must exist; a due month may be missing while it is recent.
    world.trigger(DAG, "early", &conf(&[MONTH])).failed();
    let said = log(&world, "extract_taxi_data", "early");
    assert!(said.contains("there is no file of 2019-02: `http://127.0.0.1"), "{said}");
    world.good(DAG, "due", &serde_json::json!({}));

    // A download resumes at the byte where it broke off. If the server does not support that, the attempt starts again.
    files.cut(MONTH, file(MONTH), 90_000, 1, true);
    world.good(DAG, "resumed", &conf(&[MONTH]));
    let log = world.run(&["tasks", "logs", DAG, "extract_taxi_data", "resumed"]);
    assert!(log.out.contains("broke off after 90000 bytes: going on there"), "{log:?}");
    files.cut("2019-03", file("2019-03"), 90_000, 1, false);
    world.good(DAG, "again", &conf(&["2019-03"]));
    assert_february_is_good(&world).await;
    let found = std::fs::read_dir(world.path().join("data/buckets/raw-taxi-data")).unwrap();
    assert_eq!(found.count(), 2, "nothing is left of what broke off");
    files.remove(MONTH);
    world.trigger(DAG, "gone", &conf(&[MONTH])).failed();
    assert_february_is_good(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_content_under_two_names_is_loaded_once() {
    let files = Files::of(&[MONTH, "2019-03"]).await;
    files.put("2019-04", file(MONTH));
    let world = world_of(&files).await;
    world.good(DAG, "both", &conf(&[MONTH]));
    world.good(DAG, "other", &conf(&["2019-03", "2019-04"]));
    let state = "select to_char(month, 'YYYY-MM') as month, state, rows from lake.etl_control order by 1";
    let rows = "month,state,rows\n2019-02,done,8347\n2019-03,done,9730\n2019-04,duplicate,0\n";
    assert_eq!(world.csv(state).await, rows);
    let warned = world.run(&["tasks", "logs", DAG, "process_to_iceberg", "other", "--map-index", "1"]).done();
    assert!(warned.contains("has the content of `yellow_tripdata_sample_2019-02`"), "{warned}");

    // Files that were swapped: if a file gets the content of another one, its old trips are removed.
    files.put("2019-03", file(MONTH));
    world.good(DAG, "confused", &conf(&["2019-03"]));
    let rows = "month,state,rows\n2019-02,done,8347\n2019-03,duplicate,0\n2019-04,duplicate,0\n";
    assert_eq!(world.csv(state).await, rows);
    let all = world.run(&["sql", "select count(*) as n, min(day) as d from nyc_taxi.trips", "-o", "csv"]).done();
    assert_eq!(all.replace("\r\n", "\n"), "n,d\n8347,1\n");
    let days = "select count(*) as n from nyc_taxi.daily_summary where month <> 2";
    assert_eq!(world.run(&["sql", days, "-o", "csv"]).done().replace("\r\n", "\n"), "n\n0\n");
    files.put("2019-03", file("2019-03"));
    world.good(DAG, "mended", &conf(&["2019-03"]));
    assert!(world.csv(state).await.contains("2019-03,done,9730"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_outside_of_the_city_is_put_aside_with_the_reason() {
    let files = Files::start().await;
    let whole = text(MONTH);
    files.put(
        MONTH,
        with_cell(&with_cell(&whole, 3, "pickup_location_id", "999"), 4, "dropoff_location_id", "").into_bytes(),
    );
    let world = world_of(&files).await;
    world.good(DAG, "strange", &conf(&[MONTH]));
    let aside = "select source_file, pickup_location_id as zone, quarantine_reason as why
        from nyc_taxi.trips_quarantine order by 2 desc";
    let aside = world.run(&["sql", aside, "-o", "csv"]).done();
    assert!(
        aside.contains("999") && aside.contains("pickup_location_id 999 is not in reference.taxi_zones"),
        "{aside}"
    );
    assert!(aside.contains("dropoff_location_id is null") && aside.lines().count() == 3, "{aside}");
    let sums =
        "select rows, quarantined, (found->>'rows')::int - (found->>'dropped')::int as clean from lake.etl_control";
    assert_eq!(world.csv(sums).await, "rows,quarantined,clean\n8345,2,8347\n");
    // After the repair the row is a trip, and nothing is quarantined.
    files.put(MONTH, file(MONTH));
    world.good(DAG, "mended", &conf(&[MONTH]));
    assert_february_is_good(&world).await;
    let left = world.run(&["sql", "select count(*) as n from nyc_taxi.trips_quarantine", "-o", "csv"]).done();
    assert_eq!(left.replace("\r\n", "\n"), "n\n0\n");
    assert_golden_day(&world);
}

#[track_caller]
fn assert_golden_day(world: &World) {
    let golden = crate::data::text("taxi/golden/taxi_daily_summary_2019.csv");
    let day = golden.lines().find(|line| line.starts_with("2019-02-14")).unwrap().split(',').nth(1).unwrap();
    let sql = "select total_trips as n from nyc_taxi.daily_summary where trip_date = '2019-02-14'";
    assert_eq!(world.run(&["sql", sql, "-o", "csv"]).done().replace("\r\n", "\n"), format!("n\n{day}\n"));
}
