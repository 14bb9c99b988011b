//! The tables: columns, keys, partitions, charts and rules. `sql/` has the statement that computes each.
//!
//! A row that breaks a rule is a bug in a statement, so nothing is published. Rules about sums of source data only
//! warn.

use crate::common::nyc::table::{DailyTable, in_zones};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform::{Day, Hour, Identity};
use orch::prelude::*;
use orch_lake::contract::Policy;
use orch_lake::{TableSpec, columns};

pub static CORRELATION: DailyTable = DailyTable {
    spec: TableSpec::new(
        "analytics",
        "trip_weather_correlation",
        &["trip_date", "hour", "weather_condition"],
        columns! {
            trip_date: NaiveDate, hour: i32, weather_condition: String,
            temperature_celsius: Option<f64>, humidity_percent: Option<f64>, wind_speed_kmh: Option<f64>,
            total_trips: i64, avg_trip_distance: Option<f64>, avg_fare_amount: Option<f64>, avg_tip_amount: Option<f64>,
            avg_trip_duration_minutes: Option<f64>, pickup_zone_diversity: i32,
            load_date: DateTime<Utc>, year: i32, month: i32, day: i32,
        },
    )
    .partition(&[("year", Identity), ("month", Identity)])
    .chart(
        "select weather_condition, avg(total_trips) as \"trips per hour\" from analytics.trip_weather_correlation \
         group by 1 order by 2 desc",
    ),
    day: "trip_date",
    rules: |contract| {
        contract
            .rules([
                ("hour of the day", "hour BETWEEN 0 AND 23"),
                ("trips of an hour", "total_trips BETWEEN 1 AND 1000000"),
                ("zones of the city", "pickup_zone_diversity BETWEEN 1 AND 265"),
                ("duration", "avg_trip_duration_minutes >= 0"),
            ])
            .rules([
                ("mean fare", "avg_fare_amount BETWEEN 0 AND 10000"),
                ("mean distance", "avg_trip_distance BETWEEN 0 AND 1000"),
            ])
            .or(Policy::Warn)
    },
};

pub static PERFORMANCE: DailyTable = DailyTable {
    spec: TableSpec::new(
        "analytics",
        "zone_performance_metrics",
        &["location_id", "trip_date", "hour", "weather_condition"],
        columns! {
            location_id: i32, zone_name: String, borough: String, zone_type: String, is_tourist_area: bool,
            is_business_district: bool, trip_date: NaiveDate, hour: i32, weather_condition: String,
            total_pickups: i64, total_dropoffs: i64, avg_fare_per_pickup: Option<f64>, avg_tip_percentage: Option<f64>,
            avg_trip_distance: Option<f64>, peak_hour_factor: f64, weather_impact_score: f64,
            load_date: DateTime<Utc>, year: i32, month: i32,
        },
    )
    .partition(&[("year", Identity), ("month", Identity), ("borough", Identity)])
    .chart(
        "select zone_name, sum(total_pickups) as pickups from analytics.zone_performance_metrics \
         group by 1 order by 2 desc limit 20",
    ),
    day: "trip_date",
    rules: |contract| {
        in_zones(contract, &["location_id"])
            .rules([
                ("hour of the day", "hour BETWEEN 0 AND 23"),
                ("pickups of an hour", "total_pickups BETWEEN 0 AND 1000000"),
                ("dropoffs of an hour", "total_dropoffs BETWEEN 0 AND 1000000"),
                ("peak hour factor", "peak_hour_factor BETWEEN 0 AND 24"),
                ("weather impact", "weather_impact_score BETWEEN 1 AND 1.2"),
            ])
            .rules([("mean fare", "avg_fare_per_pickup BETWEEN 0 AND 10000")])
            .or(Policy::Warn)
    },
};

pub static FEATURES: DailyTable = DailyTable {
    spec: TableSpec::new("analytics", "demand_prediction_features", &["location_id", "prediction_datetime"], columns! {
        location_id: i32, prediction_datetime: NaiveDateTime, hour: i32, day_of_week: i32, is_weekend: bool,
        is_holiday: bool, temperature_celsius: Option<f64>, weather_condition: String,
        historical_demand_1h_ago: Option<i64>, historical_demand_24h_ago: Option<i64>,
        historical_demand_168h_ago: Option<i64>, rolling_avg_demand_7d: Option<f64>, rolling_avg_demand_30d: Option<f64>,
        zone_type: String, is_tourist_area: bool, is_business_district: bool, nearby_zones_demand: Option<i64>,
        weather_impact_factor: f64, event_factor: f64, load_date: DateTime<Utc>, year: i32, month: i32,
    })
    .partition(&[("year", Identity), ("month", Identity)])
    .chart(
        "select prediction_datetime, sum(historical_demand_1h_ago) as \"trips an hour before\" from \
         analytics.demand_prediction_features group by 1 order by 1 desc limit 168",
    ),
    day: "prediction_datetime",
    rules: |contract| {
        in_zones(contract, &["location_id"])
            .rules([
                ("hour of the day", "hour BETWEEN 0 AND 23"),
                ("day of the week", "day_of_week BETWEEN 1 AND 7"),
                ("mean demand of 7 days", "rolling_avg_demand_7d >= 0"),
                ("mean demand of 30 days", "rolling_avg_demand_30d >= 0"),
                ("weather impact", "weather_impact_factor BETWEEN 1 AND 1.3"),
            ])
            .continuous_by("prediction_datetime", hours(1), ["location_id"])
            .or(Policy::Warn)
    },
};

pub static ML_FEATURES: DailyTable = DailyTable {
    spec: TableSpec::new("ml", "demand_prediction_features", &["location_id", "prediction_hour"], columns! {
        location_id: i32, prediction_hour: NaiveDateTime, target_demand: i64, hour_of_day: i32, day_of_week: i32,
        day_of_month: i32, month: i32, is_weekend: bool, is_holiday: bool, temperature_celsius: f64,
        humidity_percent: f64, wind_speed_kmh: f64, weather_condition_encoded: i32, demand_1h_ago: i64,
        demand_24h_ago: i64, demand_168h_ago: i64, rolling_avg_7d: f64, rolling_avg_30d: f64, rolling_std_7d: f64,
        zone_type_encoded: i32, is_tourist_area_flag: i32, is_business_district_flag: i32, zone_popularity_score: i32,
        temp_hour_interaction: f64, weather_weekend_interaction: i32, tourist_weekend_interaction: i32,
        demand_lag_2h: i64, demand_lag_3h: i64, demand_same_hour_last_week: i64, predicted_demand: Option<i64>,
        weather_impact_factor: f64, confidence_score: Option<f64>, feature_date: NaiveDate, created_at: DateTime<Utc>,
    })
    .partition(&[("feature_date", Identity)])
    .chart(
        "select prediction_hour, sum(target_demand) as trips from ml.demand_prediction_features \
         group by 1 order by 1 desc limit 168",
    ),
    day: "feature_date",
    rules: |contract| {
        in_zones(contract, &["location_id"])
            .rules([
                ("trips of an hour", "target_demand BETWEEN 0 AND 1000000"),
                ("weather condition", "weather_condition_encoded BETWEEN 0 AND 5"),
                ("popularity", "zone_popularity_score BETWEEN 1 AND 10"),
                ("confidence", "confidence_score BETWEEN 0 AND 1"),
                ("deviation", "rolling_std_7d >= 0"),
            ])
            .continuous_by("prediction_hour", hours(1), ["location_id"])
            .or(Policy::Warn)
    },
};

pub static FARES: DailyTable = DailyTable {
    spec: TableSpec::new(
        "ml",
        "fare_prediction_features",
        &["trip_id"],
        columns! {
            trip_id: String, fare_amount: f64, trip_distance: f64, trip_duration_minutes: f64, passenger_count: i32,
            pickup_zone_id: i32, dropoff_zone_id: i32, pickup_borough_encoded: i32, dropoff_borough_encoded: i32,
            zone_distance_km: Option<f64>, is_airport_trip: bool, is_cross_borough: bool, pickup_hour: i32,
            pickup_day_of_week: i32, is_rush_hour: bool, is_weekend: bool, weather_condition_encoded: i32,
            temperature_celsius: f64, is_bad_weather: bool, avg_fare_same_route_7d: f64, avg_fare_pickup_zone_1h: f64,
            surge_factor: f64, distance_duration_ratio: f64, weather_distance_interaction: f64,
            rush_hour_distance_interaction: f64, feature_date: NaiveDate, created_at: DateTime<Utc>,
        },
    )
    .partition(&[("feature_date", Identity)])
    .chart(
        "select pickup_hour, avg(fare_amount) as \"mean fare\" from ml.fare_prediction_features group by 1 order by 1",
    ),
    day: "feature_date",
    rules: |contract| {
        in_zones(contract, &["pickup_zone_id", "dropoff_zone_id"])
            .rules([
                ("passengers", "passenger_count BETWEEN 1 AND 6"),
                ("surge factor", "surge_factor BETWEEN 0.8 AND 1.2"),
                ("speed", "distance_duration_ratio >= 0"),
            ])
            .rules([
                ("fare", "fare_amount BETWEEN 0 AND 10000"),
                ("at most a day", "trip_duration_minutes BETWEEN 0 AND 1440"),
            ])
            .or(Policy::Warn)
    },
};

pub static AGGREGATIONS: DailyTable = DailyTable {
    spec: TableSpec::new(
        "realtime",
        "trip_aggregations",
        &["window_start", "pickup_zone_id"],
        columns! {
            window_start: DateTime<Utc>, window_end: DateTime<Utc>, pickup_zone_id: i32, total_trips: i64,
            total_revenue: f64, avg_trip_distance: f64, avg_fare_amount: f64, unique_vendors: i64,
            processed_at: DateTime<Utc>,
        },
    )
    .partition(&[("window_start", Day)])
    .chart(
        "select window_start, sum(total_trips) as trips from realtime.trip_aggregations \
         group by 1 order by 1 desc limit 288",
    ),
    day: "window_start",
    rules: |contract| {
        in_zones(contract, &["pickup_zone_id"])
            .rules([("trips", "total_trips BETWEEN 1 AND 1000000"), ("vendors", "unique_vendors >= 0")])
            .rules([("mean fare", "avg_fare_amount BETWEEN 0 AND 10000")])
            .or(Policy::Warn)
    },
};

pub static ACTIVITY: DailyTable = DailyTable {
    spec: TableSpec::new(
        "realtime",
        "zone_activity",
        &["zone_id", "activity_timestamp"],
        columns! {
            zone_id: i32, activity_timestamp: DateTime<Utc>, pickup_count: i64, dropoff_count: i64,
            revenue_last_hour: f64, avg_fare_last_hour: Option<f64>, top_destination_zone: Option<i32>,
            activity_score: f64, processed_at: DateTime<Utc>,
        },
    )
    .partition(&[("activity_timestamp", Hour)])
    .chart(
        "select activity_timestamp, sum(pickup_count) as pickups from realtime.zone_activity \
         group by 1 order by 1 desc limit 288",
    ),
    day: "activity_timestamp",
    rules: |contract| {
        in_zones(contract, &["zone_id", "top_destination_zone"]).rules([
            ("pickups", "pickup_count BETWEEN 0 AND 1000000"),
            ("dropoffs", "dropoff_count BETWEEN 0 AND 1000000"),
            ("activity score", "activity_score >= 0"),
        ])
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_days_and_partitions_are_columns_that_are_never_null() {
        for table in [&CORRELATION, &PERFORMANCE, &FEATURES, &ML_FEATURES, &FARES, &AGGREGATIONS, &ACTIVITY] {
            let partition = table.spec.partition.iter().map(|(column, _)| column);
            for name in table.spec.key.iter().chain(partition).chain([&table.day]) {
                let is_required = table.spec.column(name).is_some_and(|column| !column.nullable);
                assert!(is_required, "{}: {name}", table.spec.uri());
            }
            assert!(table.spec.definition().is_ok(), "{}", table.spec.uri());
        }
    }
}
