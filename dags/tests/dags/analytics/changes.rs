//! Windows of five minutes over the recorded changes of trips in the lake's change log; they must equal golden files.

use super::DAG;
use crate::data;
use crate::taxi_changes::{capture, recorded};
use crate::world::World;
use orch::NewRecord;
use serde_json::{Value, json};

/// Number of records that are produced at a time.
const LOT: usize = 500;
/// Number of records without tombstones.
const CHANGES: i64 = 3_580;

#[tokio::test(flavor = "multi_thread")]
async fn recorded_changes_are_golden_windows() {
    let (world, _files) = super::world_of(&["2019-01"]).await;
    // If there is no change log, `realtime_cdc` is skipped, and all other tables are computed.
    world.good(DAG, "early", &json!({}));
    let skipped = ["tasks", "states-for-dag-run", DAG, "early", "-o", "json"];
    let states: Vec<Value> = serde_json::from_str(&world.run(&skipped).done()).unwrap();
    let of = |task: &str| states.iter().find(|state| state["task_id"] == task).unwrap()["state"].clone();
    assert_eq!((of("realtime_cdc"), of("ml_features")), (json!("skipped"), json!("success")));

    let changes: Vec<NewRecord> = recorded().into_iter().filter(|record| record.value.is_some()).collect();
    for lot in changes.chunks(LOT) {
        capture(&world, lot).await;
    }
    for (run, times) in [("once", 1), ("replayed", 2)] {
        // Reset the stream to the start of the topic, with the same table: no change counts twice.
        if times > 1 {
            world.run(&["streams", "reset", "taxi_trips_cdc", "--to-earliest"]).done();
        }
        assert_eq!(world.streamed("taxi_trips_cdc", times * CHANGES).await, 0);
        world.good(DAG, run, &json!({}));
        assert_windows_are_golden(&world);
    }
    the_question_of_the_document_is_answered(&world);
    the_weather_that_is_missing_comes_as_the_log_says(&world);
}

/// The newest trips are from January 2019, and the weather of that time was never loaded. The log names the command
/// that loads it.
fn the_weather_that_is_missing_comes_as_the_log_says(world: &World) {
    let unknown =
        "select count(*) > 40 as hours, count(*) filter (where weather_condition = 'unknown') = count(*) as none,
        count(*) filter (where weather_condition = 'unknown') = 0 as all from analytics.trip_weather_correlation";
    let known = || world.run(&["sql", unknown, "-o", "csv"]).done();
    assert_eq!(known(), "hours,none,all\r\ntrue,true,false\r\n");
    let (date, conf) = ("2019-02-01T06:00:00Z", r#"{"hours": 56}"#);
    let hint = format!("`orch backfill create --dag-id nyc_weather_etl --date {date} --dag-run-conf '{conf}'`");
    let log = ["tasks", "logs", DAG, "check_availability", "replayed"];
    world.wait_for("the hint", &log, |ended| ended.out.contains(&hint));
    let asked = ["backfill", "create", "--dag-id", "nyc_weather_etl", "--date", date, "--dag-run-conf", conf];
    world.run(&asked).done();
    world.run(&["backfill", "wait", "1"]).done();
    world.good(DAG, "weather", &json!({}));
    assert_eq!(known(), "hours,none,all\r\ntrue,false,true\r\n");
}

fn assert_windows_are_golden(world: &World) {
    let sql = "select cast(to_unixtime(window_start) as bigint) * 1000 as s, cast(to_unixtime(window_end) as bigint) * 1000 as e,
            pickup_zone_id, total_trips, total_revenue, avg_trip_distance, avg_fare_amount, unique_vendors, activity_score
        from realtime.trip_aggregations join realtime.zone_activity
            on zone_id = pickup_zone_id and activity_timestamp = window_end
        where pickup_count = total_trips order by s, pickup_zone_id";
    let found = world.run(&["sql", sql, "-o", "csv", "--limit", "10000"]).done();
    let golden = data::text("golden/cdc_trip_aggregations_5min.csv");
    assert_eq!(found.lines().count(), golden.lines().count());
    for (found, golden) in found.lines().zip(golden.lines()).skip(1) {
        let numbers = |line: &str| line.split(',').map(|cell| cell.parse::<f64>().unwrap()).collect::<Vec<_>>();
        let same = numbers(found).into_iter().zip(numbers(golden)).all(|(one, other)| (one - other).abs() < 1e-6);
        assert!(same, "{found}\n{golden}");
    }
}

/// Runs the query of the document verbatim, except for its time.
fn the_question_of_the_document_is_answered(world: &World) {
    let question = "-- Current zone activity levels
SELECT 
    zone_id,
    activity_timestamp,
    activity_score,
    revenue_last_hour,
    pickup_count
FROM iceberg.realtime.zone_activity
WHERE activity_timestamp >= timestamp '2023-11-14 23:00:00' - interval '1 hour'
ORDER BY activity_score DESC";
    let answer = world.run(&["sql", "-o", "csv", "--limit", "10000", "--", question]).done();
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines[0], "zone_id,activity_timestamp,activity_score,revenue_last_hour,pickup_count");
    // The result includes zones in which trips only ended.
    assert!(lines.len() > 532, "{}", lines.len());
    // The last window of a zone contains the revenue of all windows, because they span less than an hour.
    let sums = "select count(*) as n from
        (select zone_id, max(revenue_last_hour) as hour, max(avg_fare_last_hour) as fare, count(top_destination_zone) as tops
            from realtime.zone_activity group by 1) a
        join (select pickup_zone_id, sum(total_revenue) as all from realtime.trip_aggregations group by 1) b
            on zone_id = pickup_zone_id
        where abs(hour - b.all) > 0.001 or fare is null or tops = 0";
    assert_eq!(world.run(&["sql", sums, "-o", "csv"]).done(), "n\r\n0\r\n");
}
