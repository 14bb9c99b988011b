//! Queries that use the current time, and the order of nulls. Both must behave as in Spark.

use crate::world::{World, named, world};
use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use orch_lake::TableDef;
use std::sync::Arc;

#[tokio::test]
async fn the_four_questions_of_the_taxi_pipeline_are_answered_word_for_word() {
    let world = world().await;
    fill(&world).await;
    let forecast = "-- Predict taxi demand by zone and hour
SELECT 
    location_id,
    prediction_hour,
    predicted_demand,
    weather_impact_factor,
    confidence_score
FROM iceberg.ml.demand_prediction_features
WHERE prediction_hour >= current_timestamp()";
    let ids: Vec<String> = world.lines(forecast).await.iter().map(|line| line[..1].to_string()).collect();
    assert_eq!(ids, ["2"], "only the hour that is still to come");

    let weather = "-- Analyze weather impact on taxi demand
SELECT 
    weather_condition,
    AVG(total_trips) as avg_trips,
    AVG(avg_fare_amount) as avg_fare,
    CORR(temperature_celsius, total_trips) as temp_correlation
FROM iceberg.analytics.trip_weather_correlation
GROUP BY weather_condition";
    assert_eq!(world.lines(weather).await, ["rain 20.0 11.0 1.0"]);

    let zones = "-- Top performing zones by revenue
SELECT 
    zone_name,
    borough,
    SUM(total_pickups * avg_fare_per_pickup) as total_revenue,
    AVG(peak_hour_factor) as avg_peak_factor,
    AVG(weather_impact_score) as weather_sensitivity
FROM iceberg.analytics.zone_performance_metrics
WHERE trip_date >= current_date() - interval 7 days
GROUP BY zone_name, borough
ORDER BY total_revenue DESC";
    let ranked = ["Midtown Manhattan 40.0 1.5 1.0", "Astoria Queens 20.0 1.5 1.0", "Airport Queens null 1.5 1.0"];
    assert_eq!(world.lines(zones).await, ranked, "without the zone of 30 days ago, and the zone without a fare last");

    let activity = "-- Current zone activity levels
SELECT 
    zone_id,
    activity_timestamp,
    activity_score,
    revenue_last_hour,
    pickup_count
FROM iceberg.realtime.zone_activity
WHERE activity_timestamp >= current_timestamp() - interval 1 hour
ORDER BY activity_score DESC";
    let ids: Vec<String> = world.lines(activity).await.iter().map(|line| line[..1].to_string()).collect();
    assert_eq!(ids, ["3", "2"], "the zone of two hours ago is left out");
}

#[tokio::test]
async fn the_present_time_has_one_value_in_a_query() {
    let world = World::with_orders().await;
    assert_eq!(world.lines("select now() = current_timestamp and current_date = today()").await, ["true"]);
    let before = now().date_naive();
    let day = world.lines("select current_date").await.remove(0);
    let after = now().date_naive();
    assert!([before, after].map(|day| day.to_string()).contains(&day), "{day}");
    assert_eq!(
        world.lines("select count(*) from retail.orders where day > current_date - interval '7 days'").await,
        ["0"]
    );
    assert_eq!(world.lines("select count(*) from retail.orders where day < now()").await, ["900"]);
}

#[tokio::test]
async fn null_comes_before_every_value() {
    let world = world().await;
    let values = "select * from (values (2), (null), (1)) as t(x)";
    assert_eq!(world.lines(&format!("{values} order by x")).await, ["null", "1", "2"]);
    assert_eq!(world.lines(&format!("{values} order by x desc")).await, ["2", "1", "null"]);
    assert_eq!(world.lines(&format!("{values} order by x nulls last")).await, ["1", "2", "null"]);
    assert_eq!(world.lines(&format!("{values} order by x desc nulls first")).await, ["null", "2", "1"]);
}

#[expect(clippy::disallowed_methods, reason = "the rows are of the present, for which queries ask")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

fn integers(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn counts(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn numbers(values: &[Option<f64>]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Returns timestamps without time zone, given in hours from now.
fn hours(values: &[i64]) -> ArrayRef {
    let at = values.iter().map(|hours| (now() + Duration::hours(*hours)).timestamp_micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(at))
}

/// Returns dates, given in days before today.
fn days(values: &[i64]) -> ArrayRef {
    let epoch = NaiveDate::default();
    let day = |ago: &i64| (now().date_naive() - Duration::days(*ago) - epoch).num_days() as i32;
    Arc::new(Date32Array::from_iter_values(values.iter().map(day)))
}

async fn fill(world: &World) {
    let tables: [(&str, Vec<(&str, ArrayRef)>); 4] = [
        (
            "ml.demand_prediction_features",
            vec![
                ("location_id", integers(&[1, 2])),
                ("prediction_hour", hours(&[-2, 2])),
                ("predicted_demand", counts(&[5, 6])),
                ("weather_impact_factor", numbers(&[Some(1.0), Some(1.0)])),
                ("confidence_score", numbers(&[Some(0.5), Some(0.5)])),
            ],
        ),
        (
            "analytics.trip_weather_correlation",
            vec![
                ("weather_condition", texts(&["rain", "rain"])),
                ("total_trips", counts(&[10, 30])),
                ("avg_fare_amount", numbers(&[Some(10.0), Some(12.0)])),
                ("temperature_celsius", numbers(&[Some(1.0), Some(3.0)])),
            ],
        ),
        (
            "analytics.zone_performance_metrics",
            vec![
                ("zone_name", texts(&["Astoria", "Midtown", "Airport", "Harlem"])),
                ("borough", texts(&["Queens", "Manhattan", "Queens", "Manhattan"])),
                ("trip_date", days(&[7, 1, 0, 30])),
                ("total_pickups", counts(&[2, 4, 6, 8])),
                ("avg_fare_per_pickup", numbers(&[Some(10.0), Some(10.0), None, Some(10.0)])),
                ("peak_hour_factor", numbers(&[Some(1.5); 4])),
                ("weather_impact_score", numbers(&[Some(1.0); 4])),
            ],
        ),
        (
            "realtime.zone_activity",
            vec![
                ("zone_id", integers(&[1, 2, 3])),
                ("activity_timestamp", hours(&[-2, 0, 0])),
                ("activity_score", numbers(&[Some(9.0), Some(7.0), Some(8.0)])),
                ("revenue_last_hour", numbers(&[Some(1.0); 3])),
                ("pickup_count", counts(&[1, 1, 1])),
            ],
        ),
    ];
    for (name, columns) in tables {
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true)));
        let rows = rows.expect("columns of one length");
        let definition = TableDef::of(&rows.schema()).expect("a table can have these columns");
        let table = world.lake.create(&named(name), &definition).await.expect("the table is made");
        let change = table.append(rows).await.expect("the rows are written");
        change.commit(&world.lake).await.expect("the rows are committed");
    }
}
