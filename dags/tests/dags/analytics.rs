//! End-to-end tests of the analytics pipeline with real processes: its tables equal what DuckDB computes from the same
//! files, windows over recorded changes equal golden files, and the documented queries return rows.

mod changes;

use crate::data;
use crate::guides::assert_questions_have_answers;
use crate::taxi::Files;
use crate::weather::new_york;
use crate::world::World;
use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use chrono::{DateTime, TimeDelta, Utc};
use orch_dags::common::nyc::schema::HOURLY;
use orch_dags::weather::hourly::readings::{Condition, Series, WeatherReading, rows};
use orch_lake::Filter;
use orch_lake::batches::Batches;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

pub(crate) const DAG: &str = "comprehensive_analytics_pipeline";
/// Two autumn months, and three months that follow a month that was never loaded.
const MONTHS: [&str; 5] = ["2018-10", "2018-11", "2019-01", "2019-02", "2019-03"];
/// Last day and number of days: the night in which clocks are set back, the first days after the gap, and the night in
/// which clocks are set forward.
const DATES: [(&str, u32); 3] = [("2018-11-04", 2), ("2019-01-05", 3), ("2019-03-10", 2)];
/// Columns with the time of the computation, which differs in each run.
const COMPUTED: [&str; 3] = ["load_date", "created_at", "processed_at"];
/// Tables, each with the column that contains the day of a row.
const TABLES: [(&str, &str); 5] = [
    ("analytics.trip_weather_correlation", "trip_date"),
    ("analytics.zone_performance_metrics", "trip_date"),
    ("analytics.demand_prediction_features", "prediction_datetime"),
    ("ml.demand_prediction_features", "feature_date"),
    ("ml.fare_prediction_features", "feature_date"),
];

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Returns a world with a worker and a scheduler, these months of trips, the zones, and weather around the dates.
pub(crate) async fn world_of(months: &[&str]) -> (World, Files) {
    let files = Files::of(months).await;
    let mut world = World::new().await;
    world.set("ORCH_CONN_NYC_TAXI", format!("{}?template=yellow_tripdata_sample_YYYY-MM", files.address()));
    let world = world.at_work();
    world.run(&["dags", "unpause", "nyc_weather_etl"]).done();
    world.good("nyc_weather_etl", "zones", &json!({ "hours": 1 }));
    world.good("nyc_taxi_iceberg_etl", "trips", &json!({ "months": months }));
    add_weather(&world).await;
    world.run(&["dags", "unpause", DAG]).done();
    (world, files)
}

/// Adds weather with every condition, frost and heat, hours without a reading, readings that are corrected later, and
/// another city.
async fn add_weather(world: &World) {
    let conditions = [Condition::Clear, Condition::Cloudy, Condition::Rain, Condition::Snow, Condition::Fog];
    let reading = |hour: DateTime<Utc>, shift: i64| {
        let number = hour.timestamp() / 3_600 + shift;
        WeatherReading {
            hour,
            temperature_celsius: (number % 47 - 12) as f64 + 0.1,
            condition: conditions[usize::try_from(number / 2 % 5).unwrap()],
            humidity_percent: (number % 7 > 0).then_some((number % 100) as f64),
            pressure_hpa: None,
            wind_speed_kmh: (number % 11 > 0).then_some((number % 30) as f64 / 3.0),
            visibility_km: None,
            uv_index: None,
        }
    };
    let hours = |from: &str, count: i64| {
        let first = time(from);
        (0..count).map(move |hour| first + TimeDelta::hours(hour)).filter(|hour| hour.timestamp() / 3_600 % 13 > 0)
    };
    let new_york = new_york();
    let mut boston = new_york.clone();
    boston.name = "Boston".into();
    let spans = [("2018-11-03T00:00:00Z", 80), ("2019-01-03T00:00:00Z", 70), ("2019-03-09T00:00:00Z", 80)];
    let mut lots = Vec::new();
    for (from, count) in spans {
        let of = |location, shift| Series::of(location, hours(from, count).map(|hour| reading(hour, shift))).unwrap();
        lots.push(rows(&[of(new_york.clone(), 0), of(boston.clone(), 3)], time("2026-01-01T00:00:00Z")).unwrap());
        let mended = hours(from, count / 3).map(|hour| reading(hour, 1));
        lots.push(rows(&[Series::of(new_york.clone(), mended).unwrap()], time("2026-01-02T00:00:00Z")).unwrap());
    }
    let lake = world.lake();
    let table = lake.table(&HOURLY.id().unwrap()).await.unwrap();
    table.append(Batches::of(HOURLY.schema(), lots)).await.unwrap().commit(&lake).await.unwrap();
}

fn days_of((date, days): (&str, u32)) -> (String, String) {
    let last: chrono::NaiveDate = date.parse().unwrap();
    ((last - TimeDelta::days(i64::from(days) - 1)).to_string(), last.to_string())
}

/// Returns the rows of a table on some days as CSV, sorted by their text.
async fn table(world: &World, (name, day): (&str, &str), (first, last): &(String, String)) -> String {
    let end = last.parse::<chrono::NaiveDate>().unwrap() + TimeDelta::days(1);
    let filter = Filter::ge(day, first.as_str()).and(Filter::lt(day, end.to_string()));
    let lake = world.lake();
    let table = lake.table(&name.parse().unwrap()).await.unwrap();
    csv(&table.scan().filter(filter).collect().await.unwrap())
}

pub(crate) fn csv(batches: &[RecordBatch]) -> String {
    let mut text = Vec::new();
    let mut writer = arrow::csv::Writer::new(&mut text);
    for batch in batches {
        let kept: Vec<usize> = (0..batch.num_columns())
            .filter(|at| !COMPUTED.contains(&batch.schema().field(*at).name().as_str()))
            .collect();
        writer.write(&batch.project(&kept).unwrap()).unwrap();
    }
    drop(writer);
    let text = String::from_utf8(text).unwrap();
    let (names, rows) = text.split_once('\n').expect("there are rows");
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    format!("{names}\n{}\n", rows.join("\n"))
}

async fn tables(world: &World, date: (&str, u32)) -> Vec<String> {
    let days = days_of(date);
    let mut all = Vec::new();
    for name in TABLES {
        all.push(table(world, name, &days).await);
    }
    all
}

/// Asserts that the tables equal those that DuckDB computes.
async fn assert_as_duckdb_says(world: &World, date: (&str, u32)) {
    let folder = world.path().join(date.0);
    std::fs::create_dir_all(folder.join("found")).unwrap();
    for ((name, _), text) in TABLES.iter().zip(tables(world, date).await) {
        std::fs::write(folder.join(format!("found/{name}.csv")), text).unwrap();
    }
    let lake = world.lake();
    for (file, name, columns) in [
        (
            "forecasts.csv",
            "ml.demand_forecast",
            &["reference_date", "location_id", "prediction_hour", "predicted_demand", "confidence_score"][..],
        ),
        (
            "weather.csv",
            "weather.hourly_weather",
            &[
                "timestamp",
                "location",
                "year",
                "month",
                "day",
                "hour",
                "weather_condition",
                "temperature_celsius",
                "humidity_percent",
                "wind_speed_kmh",
                "load_date",
            ][..],
        ),
        (
            "zones.csv",
            "reference.taxi_zones",
            &[
                "location_id",
                "borough",
                "zone",
                "latitude",
                "longitude",
                "zone_type",
                "is_tourist_area",
                "is_business_district",
            ],
        ),
    ] {
        let table = lake.table(&name.parse().unwrap()).await.unwrap();
        let mut writer = arrow::csv::Writer::new(std::fs::File::create(folder.join(file)).unwrap());
        for batch in table.scan().columns(columns.iter().copied()).collect().await.unwrap() {
            writer.write(&without_zone(&batch)).unwrap();
        }
    }
    let trips = MONTHS.map(|month| data::folder().join(format!("taxi/yellow_tripdata_sample_{month}.csv.gz")));
    let python = orch_test_support::data_python();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dags/analytics/expected.py");
    let (first, last) = days_of(date);
    let said =
        Command::new(python).arg("-B").arg(script).arg(&folder).args([first, last]).args(trips).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{date:?}: {out}\n{err}");
}

/// Removes the time zone of timestamps, which only some CSV readers support.
fn without_zone(batch: &RecordBatch) -> RecordBatch {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        let plain = column.as_any().downcast_ref::<TimestampMicrosecondArray>();
        (
            field.name().clone(),
            plain.map_or(column.clone(), |times| Arc::new(times.clone().with_timezone_opt::<&str>(None))),
        )
    });
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn asked((date, days): (&str, u32)) -> Value {
    json!({ "reference_date": date, "days": days })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_are_what_duckdb_says_and_know_nothing_of_what_comes_later() {
    let (world, _files) = world_of(&MONTHS).await;
    // Each forecast has data for one more of the last days than the previous one. The rows of other days repeat the
    // week before.
    world.run(&["dags", "unpause", "demand_forecast"]).done();
    for reference in ["2019-03-07", "2019-03-08", "2019-03-09"] {
        let asked = json!({ "reference_date": reference, "weeks": 30, "held_out_weeks": 2, "retrain_after_days": 30 });
        world.good("demand_forecast", reference, &asked);
    }
    for date in DATES {
        world.good(DAG, date.0, &asked(date));
        assert_as_duckdb_says(&world, date).await;
    }
    assert_ne!(world.run(&["sql", FORETOLD, "-o", "csv"]).done(), "n\r\n0\r\n", "forecasts are used");
    let autumn = tables(&world, DATES[0]).await;
    let hole = DATES[1];
    let before = tables(&world, hole).await;
    // The file of March contains a trip of April, which must not cause that day to be computed.
    world.good(DAG, "newest", &json!({}));
    assert_eq!(world.run(&["sql", NEWEST, "-o", "csv"]).done(), "newest\r\n2019-03-31\r\n");
    // Rerun all days, rerun only one of them, and rerun without any later trips.
    world.good(DAG, "again", &asked(hole));
    assert_eq!(tables(&world, hole).await, before);
    world.good(DAG, "alone", &asked(("2019-01-04", 1)));
    assert_eq!(tables(&world, hole).await, before);
    let lake = world.lake();
    let trips = lake.table(&"nyc_taxi.trips".parse().unwrap()).await.unwrap();
    let later = trips.delete(Filter::ge("pickup_datetime", "2019-01-06")).await.unwrap();
    later.commit(&lake).await.unwrap();
    world.good(DAG, "without", &asked(hole));
    assert_eq!(tables(&world, hole).await, before);
    // Days without trips lose their rows, and other days keep theirs.
    world.good(DAG, "nothing", &asked(DATES[2]));
    assert_eq!(world.run(&["sql", LEFT, "-o", "csv"]).done(), "n\r\n0\r\n");
    assert_eq!(tables(&world, DATES[0]).await, autumn);
    the_questions_of_the_document_are_answered(&world);
    assert_questions_have_answers(&world, "analytics", 2);
    hours_that_are_missing_warn(&world, hole).await;
}

/// A day without trips between two other days is a gap in the hours of each zone: the contracts warn, and the run
/// succeeds.
async fn hours_that_are_missing_warn(world: &World, days: (&str, u32)) {
    let lake = world.lake();
    let trips = lake.table(&"nyc_taxi.trips".parse().unwrap()).await.unwrap();
    let day = Filter::ge("pickup_datetime", "2019-01-04").and(Filter::lt("pickup_datetime", "2019-01-05"));
    trips.delete(day).await.unwrap().commit(&lake).await.unwrap();
    world.good(DAG, "gap", &asked(days));
    let checks = "select distinct kind, outcome from asset_check where run_id = 'gap'
        and kind in ('continuity', 'references') order by 1";
    assert_eq!(world.csv(checks).await, "kind,outcome\ncontinuity,warn\nreferences,pass\n");
}

const LEFT: &str = "select count(*) as n from ml.demand_prediction_features
    where feature_date between date '2019-03-09' and date '2019-03-10'";
const FORETOLD: &str = "select count(*) as n from ml.demand_prediction_features
    where feature_date = date '2019-03-10' and predicted_demand <> demand_168h_ago";
const NEWEST: &str = "select max(feature_date) as newest from ml.fare_prediction_features";

/// Runs the queries of the document verbatim. Because the sample is from 2019, each query also runs as of a day of the
/// sample.
fn the_questions_of_the_document_are_answered(world: &World) {
    let questions = [
        (
            "-- Predict taxi demand by zone and hour
SELECT 
    location_id,
    prediction_hour,
    predicted_demand,
    weather_impact_factor,
    confidence_score
FROM iceberg.ml.demand_prediction_features
WHERE prediction_hour >= current_timestamp()",
            "location_id,prediction_hour,predicted_demand,weather_impact_factor,confidence_score",
            265 * 24,
        ),
        (
            "-- Analyze weather impact on taxi demand
SELECT 
    weather_condition,
    AVG(total_trips) as avg_trips,
    AVG(avg_fare_amount) as avg_fare,
    CORR(temperature_celsius, total_trips) as temp_correlation
FROM iceberg.analytics.trip_weather_correlation
GROUP BY weather_condition",
            "weather_condition,avg_trips,avg_fare,temp_correlation",
            6,
        ),
        (
            "-- Top performing zones by revenue
SELECT 
    zone_name,
    borough,
    SUM(total_pickups * avg_fare_per_pickup) as total_revenue,
    AVG(peak_hour_factor) as avg_peak_factor,
    AVG(weather_impact_score) as weather_sensitivity
FROM iceberg.analytics.zone_performance_metrics
WHERE trip_date >= current_date() - interval 7 days
GROUP BY zone_name, borough
ORDER BY total_revenue DESC",
            "zone_name,borough,total_revenue,avg_peak_factor,weather_sensitivity",
            100,
        ),
    ];
    for (question, names, least) in questions {
        let answer = |question: &str| world.run(&["sql", "-o", "csv", "--limit", "10000", "--", question]).done();
        assert_eq!(answer(question).lines().next(), Some(names), "{question}");
        let in_2019 = question
            .replace("current_timestamp()", "timestamp '2019-01-05 00:00:00'")
            .replace("current_date()", "date '2019-01-05'");
        let rows = answer(&in_2019);
        assert!(rows.lines().count() > least, "{in_2019}\n{rows}");
    }
}
