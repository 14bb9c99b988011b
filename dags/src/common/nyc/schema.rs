//! `weather.hourly_weather` and `reference.taxi_zones`, which several pipelines read.

use chrono::{DateTime, Utc};
use iceberg::spec::Transform;
use orch_lake::{TableSpec, columns};

/// Precision and scale of dollars and miles: taximeters count hundredths.
pub const HUNDREDTHS: (u8, i8) = (12, 2);

/// The weather of a location in an hour. `timestamp` is in UTC; `year`, `month`, `day`, `hour` and `day_of_week`
/// (Monday is 0) are local time, like the dates of taxi trips.
pub const HOURLY: TableSpec = TableSpec::new(
    "weather",
    "hourly_weather",
    &["location", "timestamp"],
    columns! {
        timestamp: DateTime<Utc>, location: String, latitude: f64, longitude: f64,
        temperature_celsius: f64, temperature_fahrenheit: f64, humidity_percent: Option<f64>, pressure_hpa: Option<f64>,
        wind_speed_kmh: Option<f64>, weather_condition: String, visibility_km: Option<f64>, uv_index: Option<f64>,
        hour: i32, day_of_week: i32, is_weekend: bool, load_date: DateTime<Utc>, year: i32, month: i32, day: i32,
    },
)
.partition(&[("year", Transform::Identity), ("month", Transform::Identity), ("day", Transform::Identity)])
.chart(
    "select \"timestamp\", temperature_celsius as \"temperature per hour\" from \
     (select \"timestamp\", avg(temperature_celsius) as temperature_celsius from weather.hourly_weather \
     group by 1 order by 1 desc limit 168) order by 1",
);

pub const ZONES: TableSpec = TableSpec::new(
    "reference",
    "taxi_zones",
    &["location_id"],
    columns! {
        location_id: i32, borough: String, zone: String, latitude: Option<f64>, longitude: Option<f64>,
        zone_type: String, is_tourist_area: bool, is_business_district: bool,
        created_at: DateTime<Utc>, load_date: DateTime<Utc>, geometry: Option<String>,
    },
)
.chart("select borough, count(*) as zones from reference.taxi_zones group by 1 order by 2 desc");
