//! The forecasts with real processes: which data a forecast uses, how versions are added, and how forecasts are
//! compared with later trips.

use crate::analytics::{csv, world_of};
use crate::guides::assert_questions_have_answers;
use crate::world::World;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, StringArray};
use orch_lake::Filter;
use orch_lake::batches::Batches;
use serde_json::{Value, json};
use std::sync::Arc;

const MONTHS: [&str; 6] = ["2018-10", "2018-11", "2018-12", "2019-01", "2019-02", "2019-03"];
const DAG: &str = "demand_forecast";
const FARES: &str = "fare_prediction";
/// Number of rows: every zone in every hour of a week.
const ROWS: usize = 265 * 168;

/// Returns a conf for half a year of history that holds out two weeks, not eight.
fn asked(reference: &str, retrain_after_days: u32) -> Value {
    json!({
        "reference_date": reference, "weeks": 30, "held_out_weeks": 2, "retrain_after_days": retrain_after_days,
    })
}

async fn rows(world: &World, table: &str, filter: Filter) -> Vec<RecordBatch> {
    let table = world.lake().table(&table.parse().unwrap()).await.unwrap();
    table.scan().filter(filter).collect().await.unwrap()
}

/// Returns a forecast as CSV, without the time at which it was computed.
async fn said(world: &World, reference: &str) -> String {
    csv(&rows(world, "ml.demand_forecast", Filter::eq("reference_date", reference)).await)
}

/// Returns the result of a query as CSV lines, without its header.
fn sql(world: &World, query: &str) -> Vec<String> {
    world.run(&["sql", query, "-o", "csv"]).done().lines().skip(1).map(String::from).collect()
}

const MODELS: &str = "select reference_date, state, mase < 0.95, coverage between 0.6 and 0.95, training_snapshot_id > 0 \
                      from ml.models where name = 'demand' and reference_date < date '2019-03-31' \
                      order by reference_date";

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_added_and_only_a_good_one_is_used() {
    let (world, _files) = world_of(&MONTHS).await;
    // The scheduled run forecasts the week after the newest day, which no other run of this test requests.
    world.run(&["dags", "unpause", DAG]).done();
    // Three weeks of trips are too little history: the log reports it, and the forecast repeats the week before.
    world.good(DAG, "little", &asked("2018-10-20", 7));
    let log = world.run(&["tasks", "logs", DAG, "train_demand", "little"]).out;
    assert!(log.contains("too little history for a model"), "{log}");
    let little = said(&world, "2018-10-20").await;
    assert_eq!(little.lines().count(), ROWS + 1);
    assert!(little.lines().skip(1).all(|row| row.ends_with(",seasonal_naive,-")), "{}", &little[..500]);
    world.good(DAG, "none", &asked("2017-05-01", 7));
    assert_eq!(world.run(&["tasks", "state", DAG, "predict_demand", "none"]).out, "skipped\n");

    // Train a model, then run again.
    world.good(DAG, "first", &asked("2019-03-08", 7));
    let first = said(&world, "2019-03-08").await;
    assert_eq!(first.lines().filter(|row| row.contains(",gradient_boosted_trees,2019-03-08-")).count(), ROWS);
    assert_eq!(sql(&world, MODELS), ["2019-03-08,good,true,true,true"]);
    assert_eq!(world.run(&["tasks", "state", DAG, "judge_forecasts", "first"]).out, "skipped\n");
    world.good(DAG, "again", &asked("2019-03-08", 0));
    assert_eq!(sql(&world, MODELS).len(), 1, "the same trips give the same version");
    assert_eq!(said(&world, "2019-03-08").await, first);

    // A week later, a second version is added, and the first forecast is compared with the trips. Hours without trips
    // are an anomaly.
    let lake = world.lake();
    let trips = lake.table(&"nyc_taxi.trips".parse().unwrap()).await.unwrap();
    let evening =
        Filter::ge("pickup_datetime", "2019-03-12T17:00:00").and(Filter::lt("pickup_datetime", "2019-03-12T20:00:00"));
    trips.delete(evening).await.unwrap().commit(&lake).await.unwrap();
    world.good(DAG, "later", &asked("2019-03-15", 7));
    assert_eq!(sql(&world, MODELS), ["2019-03-08,good,true,true,true", "2019-03-15,good,true,true,true"]);
    let drift = "select count(*), min(day), max(day), max(hours) from ml.forecast_drift where borough = 'Manhattan' \
                 and expected_error > 0 and mae > 0 and naive_mae > 0";
    assert_eq!(sql(&world, drift), ["7,2019-03-09,2019-03-15,24"]);
    let hole = "select anomaly_hour, kind, actual from ml.anomalies where borough = 'Manhattan' and lower > 0 \
                and date_trunc('day', anomaly_hour) = timestamp '2019-03-12 00:00:00' order by 1";
    let hole = sql(&world, hole);
    assert!(hole.len() >= 2 && hole.iter().all(|row| row.ends_with(",fewer,0")), "{hole:?}");
    // Later trips do not change a forecast for an earlier date.
    world.good(DAG, "before", &asked("2019-03-08", 7));
    assert_eq!(said(&world, "2019-03-08").await, first);
    let later = said(&world, "2019-03-15").await;
    assert!(later.contains(",gradient_boosted_trees,2019-03-15-"));
    assert_questions_have_answers(&world, "forecast", 3);

    // Versions that are worse than the week before are kept and not used.
    spoil(&world, |reference| reference > "2019-03-08").await;
    world.good(DAG, "one", &asked("2019-03-15", 30));
    assert_eq!(said(&world, "2019-03-15").await.matches(",gradient_boosted_trees,2019-03-08-").count(), ROWS);
    spoil(&world, |_| true).await;
    world.good(DAG, "bad", &asked("2019-03-15", 30));
    let naive = said(&world, "2019-03-15").await;
    assert_eq!((naive.matches(",seasonal_naive,-").count(), sql(&world, MODELS).len()), (ROWS, 2));
}

/// Marks versions as worse than their baseline.
async fn spoil(world: &World, which: impl Fn(&str) -> bool) {
    let lake = world.lake();
    let table = lake.table(&"ml.models".parse().unwrap()).await.unwrap();
    let batches = table.scan().collect().await.unwrap();
    let spoilt = batches.iter().map(|batch| {
        let schema = batch.schema();
        let (state, reference) = (schema.index_of("state").unwrap(), schema.index_of("reference_date").unwrap());
        let days = arrow::compute::cast(batch.column(reference), &arrow::datatypes::DataType::Utf8).unwrap();
        let states = days.as_string::<i32>().iter().zip(batch.column(state).as_string::<i32>().iter());
        let states = states.map(|(day, state)| if which(day.unwrap()) { Some("worse_than_baseline") } else { state });
        let states: ArrayRef = Arc::new(states.collect::<StringArray>());
        let mut columns = batch.columns().to_vec();
        columns[state] = states;
        RecordBatch::try_new(schema, columns).unwrap()
    });
    let spoilt = Batches::of(table.arrow_schema().unwrap(), spoilt.collect());
    table.upsert(&[], spoilt).await.unwrap().commit(&lake).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn fares_are_learnt_and_unusual_trips_are_named() {
    let (world, _files) = world_of(&["2019-03"]).await;
    for dag in ["comprehensive_analytics_pipeline", FARES] {
        world.run(&["dags", "unpause", dag]).done();
    }
    let asked = json!({ "reference_date": "2019-03-31" });
    world.good(FARES, "nothing", &asked);
    assert_eq!(world.run(&["tasks", "state", FARES, "flag_trips", "nothing"]).out, "skipped\n");
    world.good("comprehensive_analytics_pipeline", "month", &json!({ "reference_date": "2019-03-31", "days": 31 }));
    world.good(FARES, "little", &json!({ "reference_date": "2019-03-31", "days": 4, "held_out_days": 1 }));
    let log = world.run(&["tasks", "logs", FARES, "train_fares", "little"]).out;
    assert!(log.contains("too few trips for a model"), "{log}");

    world.good(FARES, "march", &asked);
    let model = "select state, mae < 0.9 * baseline_mae, coverage between 0.75 and 0.85, training_table from ml.models";
    assert_eq!(sql(&world, model), ["good,true,true,ml.fare_prediction_features"]);
    let unusual = csv(&rows(&world, "ml.trip_anomalies", Filter::All).await);
    let trips: usize =
        sql(&world, "select count(*) from ml.fare_prediction_features where feature_date > date '2019-03-24'")
            .concat()
            .parse()
            .unwrap();
    let fares = unusual.lines().filter(|row| row.contains(",fare,")).count();
    assert!(fares > 0 && fares * 30 < trips, "{fares} of {trips} fares are unusual");
    world.good(FARES, "again", &asked);
    assert_eq!(csv(&rows(&world, "ml.trip_anomalies", Filter::All).await), unusual);
    assert_eq!(sql(&world, model).len(), 1);
}
