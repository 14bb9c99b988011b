//! What must hold of each table before anybody sees it. What cannot be measured is put aside; holes and what is only strange
//! are told.

use crate::common::nyc::schema::{HOURLY, Table, ZONES};
use orch::prelude::*;
use orch_lake::contract::{Contract, Outliers, Policy};

/// Every reading of this planet lies between these.
const RANGES: [(&str, i32, i32); 7] = [
    ("temperature_celsius", -90, 60),
    ("humidity_percent", 0, 100),
    ("pressure_hpa", 500, 1_100),
    ("wind_speed_kmh", 0, 450),
    ("visibility_km", 0, 500),
    ("uv_index", 0, 45),
    ("hour", 0, 23),
];

/// Hardly ever chance: of a month's hours one in millions.
const FAR_OFF: f64 = 6.0;

fn of(table: &Table) -> Contract {
    Contract::of(table.uri())
        .key(table.key.iter().copied())
        .schema(&table.arrow())
        .not_null(table.required())
        .unique(table.key.iter().copied())
}

pub fn hourly_weather() -> Contract {
    let ranges = RANGES.iter().fold(of(&HOURLY), |contract, (column, least, most)| {
        contract.between(*column, least, most).or(Policy::Quarantine)
    });
    ranges
        .continuous_by("timestamp", hours(1), ["location"])
        .or(Policy::Warn)
        .fresh("timestamp", hours(3))
        .or(Policy::Warn)
        .no_outliers("temperature_celsius", Outliers::ZScore(FAR_OFF))
        .or(Policy::Warn)
}

pub fn taxi_zones() -> Contract {
    of(&ZONES).between("location_id", 1, 265).rows_change(0.0, 0.0).or(Policy::Warn)
}

/// Of trips, when both are there: each begins and ends in a zone of the city's list.
pub fn trips_against_zones() -> Contract {
    let trips = Contract::of("lake://nyc_taxi/trips");
    ["pickup_location_id", "dropoff_location_id"]
        .into_iter()
        .fold(trips, |contract, column| contract.references([column], ZONES.uri()).or(Policy::Warn))
}
