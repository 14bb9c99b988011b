//! Contracts of the tables. Rows with impossible values are quarantined; gaps and outliers are only reported.

use crate::common::nyc::schema::{HOURLY, ZONES};
use orch::prelude::*;
use orch_lake::contract::{Contract, Outliers, Policy};

/// Value ranges that no weather on earth exceeds.
pub const POSSIBLE: [(&str, &str); 7] = [
    ("possible temperature", "temperature_celsius BETWEEN -90 AND 60"),
    ("possible humidity", "humidity_percent BETWEEN 0 AND 100"),
    ("possible pressure", "pressure_hpa BETWEEN 500 AND 1100"),
    ("possible wind speed", "wind_speed_kmh BETWEEN 0 AND 450"),
    ("possible visibility", "visibility_km BETWEEN 0 AND 500"),
    ("possible UV index", "uv_index BETWEEN 0 AND 45"),
    ("possible hour", "hour BETWEEN 0 AND 23"),
];

/// Maximum deviation from the mean of the last weeks, in standard deviations; chance exceeds it once in millions of
/// hours.
const MAX_DEVIATIONS: f64 = 6.0;

pub fn hourly_weather() -> Contract {
    HOURLY.contract().rules(POSSIBLE).or(Policy::Quarantine)
}

/// Returns the checks of the hours as a time series, in which quarantined rows are missing.
pub fn hourly_series() -> Contract {
    Contract::of(HOURLY.uri())
        .key(["location", "timestamp"])
        .continuous_by("timestamp", hours(1), ["location"])
        .or(Policy::Warn)
        .fresh("timestamp", hours(3))
        .or(Policy::Warn)
        .no_outliers("temperature_celsius", Outliers::ZScore(MAX_DEVIATIONS))
        .or(Policy::Warn)
}

pub fn taxi_zones() -> Contract {
    let zones = ZONES.contract().rules([("known zone number", "location_id BETWEEN 1 AND 265")]);
    zones.rows_change(0.0, 0.0).or(Policy::Warn)
}

pub const TRIP_ZONES: [&str; 2] = ["pickup_location_id", "dropoff_location_id"];

/// Requires that every trip starts and ends in a zone of the city.
pub fn trips_against_zones() -> Contract {
    let trips = Contract::of("lake://nyc_taxi/trips");
    TRIP_ZONES.into_iter().fold(trips, |trips, column| trips.references([column], ZONES.uri()).or(Policy::Warn))
}
