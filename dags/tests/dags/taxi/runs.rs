//! Whole runs: all months in one run and again, with a killed worker, in a backfill, and on the built-in sample.

use super::server::Files;
use super::{
    DAG, assert_2019_is_golden, assert_2025_is_golden, assert_golden, assert_same, conf, months_of, snapshots, world_of,
};
use crate::world::World;
use crate::{analytics, weather};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn all_months_are_golden_and_a_second_run_changes_nothing() {
    let mut months: Vec<String> = [2018, 2019, 2020].into_iter().flat_map(months_of).collect();
    months.push("2025-02".into());
    let files = Files::of(&months).await;
    let world = world_of(&files).await;
    // Reload each file of the two schemas: a file replaces its own rows, and the days of 2019 are recomputed.
    let again: Vec<String> =
        months.iter().filter(|month| month.starts_with("2019") || **month == "2025-02").cloned().collect();
    for (run, months) in [("first", &months), ("second", &again)] {
        world.good(DAG, run, &conf(months));
        let cleaning = "select to_char(month, 'YYYY-MM') as file_month, found->>'rows' as raw_rows, rows as clean_rows,
                found->>'null_passenger' as null_passenger, found->>'zero_passenger' as zero_passenger,
                found->>'bad_distance' as bad_distance, found->>'bad_fare' as bad_fare,
                found->>'negative_duration' as negative_duration, found->>'out_of_month' as out_of_month
            from lake.etl_control where state = 'done' and month < '2021-01-01' order by 1";
        assert_same("taxi_cleaning_by_file", &world.csv(cleaning).await);
        assert_golden(
            &world,
            "taxi_partitions_year_month",
            "select year, month, count(*) as trips, cast(sum(trip_distance) as double) / count(*) as avg_distance,
                cast(sum(total_amount) as double) / count(*) as avg_amount, sum(total_amount) as total_amount
                from nyc_taxi.trips where year < 2021 group by 1, 2 order by 1, 2",
        );
        assert_golden(
            &world,
            "taxi_by_payment_type",
            "select payment_type, count(*) as n, sum(tip_amount) as tips from nyc_taxi.trips where year < 2021
                group by 1 order by 1",
        );
        assert_2019_is_golden(&world);
        assert_2025_is_golden(&world).await;
    }
    // Trips are in the documented partitions, and every input row was loaded, dropped or quarantined.
    let files = "select distinct partition from nyc_taxi.\"trips$files\" order by 1";
    let partitions = world.run(&["sql", files, "-o", "csv", "--limit", "100"]).done();
    assert_eq!(partitions.lines().count(), 1 + 38, "{partitions}");
    let sums =
        "select sum((found->>'rows')::int) - sum((found->>'dropped')::int) - sum(quarantined) - sum(rows) as lost
        from lake.etl_control";
    assert_eq!(world.csv(sums).await, "lost\n0\n");
    let control =
        "select table_name, last_processed_date::date as last, last_updated > now() - interval '1 hour' as is_new
        from public.etl_control";
    assert_eq!(world.csv(control).await, "table_name,last,is_new\nnyc_taxi_trips,2025-02-01,t\n");
    let edges = "select sum(rows) from (select distinct on (from_uri) rows from lineage
        where to_uri = 'lake://nyc_taxi/trips' order by from_uri, at desc) newest";
    let lineage = world.csv(edges).await;
    assert_eq!(lineage, world.csv("select sum(rows) from lake.etl_control").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_at_every_step_leaves_golden_tables() {
    let files = Files::of(&months_of(2019)).await;
    let mut world = world_of(&files).await;
    let mut worker = world.first_worker();
    let months = conf(&months_of(2019)).to_string();
    world.run(&["dags", "trigger", DAG, "--run-id", "shaken", "--conf", &months]).done();
    for (task, element) in [
        ("extract_taxi_data", "-1"),
        ("validate_data", "3"),
        ("process_to_iceberg", "7"),
        ("update_control_table", "-1"),
    ] {
        let state = ["tasks", "state", DAG, task, "shaken", "--map-index", element];
        world.wait_for(task, &state, |ended| ["running\n", "success\n"].contains(&ended.out.as_str()));
        world.kill(worker);
        worker = world.start_worker();
    }
    world.wait_good(DAG, "shaken");
    assert_2019_is_golden(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_in_any_order_is_the_same_as_all_at_once() {
    let mut months = months_of(2019);
    months.push("2025-02".into());
    let files = Files::of(&months).await;
    let world = world_of(&files).await;
    // Load the new columns first.
    world.good(DAG, "newest", &conf(&["2025-02"]));
    let dates: Vec<String> = months_of(2019).iter().map(|month| format!("{month}-01T00:00:00Z")).collect();
    let mut backfill = vec!["backfill", "create", "--dag-id", DAG, "--max-active-runs", "4", "--run-backwards"];
    backfill.extend(["--dag-run-conf", "{\"mode\":\"month\"}"]);
    backfill.extend(dates.iter().flat_map(|date| ["--date", date.as_str()]));
    world.run(&backfill).done();
    world.run(&["backfill", "wait", "1"]).done();
    assert_2019_is_golden(&world);
    assert_2025_is_golden(&world).await;
    // Older rows have no such fee, and each column has one name.
    let fees = "select year, count(cbd_congestion_fee) > 0 as fee, count(airport_fee) > 0 as airport
        from nyc_taxi.trips where year in (2019, 2025) group by 1 order by 1";
    let fees = world.run(&["sql", fees, "-o", "csv"]).done();
    assert_eq!(fees.replace("\r\n", "\n"), "year,fee,airport\n2019,false,false\n2025,true,true\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_loaded_once() {
    let mut world = World::new().await;
    world.set("ORCH_CONN_NYC_TAXI", "sample://taxi");
    let world = world.at_work();
    let months =
        "select to_char(month, 'YYYY-MM') as month, state, rows > 200 as full from lake.etl_control order by 1";
    world.good(DAG, "first", &json!({}));
    let first = world.csv(months).await;
    assert!((2..=3).contains(&first.lines().count()) && first.contains(",done,t"), "{first}");
    crate::guides::assert_questions_have_answers(&world, "taxi", 3);
    let before = snapshots(&world).await;
    world.good(DAG, "second", &json!({}));
    assert_eq!((world.csv(months).await, snapshots(&world).await), (first, before), "nothing is due any more");
    let skipped = world.run(&["tasks", "state", DAG, "update_control_table", "second"]);
    assert_eq!(skipped.out, "skipped\n");
    let log = world.run(&["tasks", "logs", DAG, "extract_taxi_data", "second"]);
    assert!(log.out.contains("there is nothing to be loaded"), "{log:?}");
    // No pipeline has loaded the zones, and the checks of the asset report that.
    let checks = world.run(&["assets", "checks", "lake://nyc_taxi/trips", "-o", "plain"]).done();
    assert!(checks.contains("reference.taxi_zones"), "{checks}");
    sample_trips_have_weather(&world);
}

/// Runs the defaults of both samples, then the analytics: every hour with trips has its weather.
fn sample_trips_have_weather(world: &World) {
    world.run(&["dags", "unpause", weather::DAG]).done();
    for run in ["weather", "again"] {
        world.good(weather::DAG, run, &json!({}));
    }
    let log = world.run(&["tasks", "logs", weather::DAG, "fetch_weather", "again"]).out;
    assert!(log.contains(" 24 hours of 1 locations"), "the month is loaded once: {log}");
    world.run(&["dags", "unpause", analytics::DAG]).done();
    world.good(analytics::DAG, "impact", &json!({}));
    let impact = "select count(*) >= 24 as shared, count(*) filter (where weather_condition = 'unknown') as unknown
        from analytics.trip_weather_correlation";
    assert_eq!(world.run(&["sql", impact, "-o", "csv"]).done(), "shared,unknown\r\ntrue,0\r\n");
}
