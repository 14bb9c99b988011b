//! The DAGs for the hourly weather and for checks across pipelines.

use super::options::Weather;
use super::tasks::{
    create_locations, fetch_weather, location_to_iceberg, trips_against_zones, validate, weather_to_iceberg,
};
use crate::common::nyc::schema::{HOURLY, ZONES};
use orch::Asset;
use orch::prelude::*;
use orch_lake::TableSpec;

pub fn dags() -> Vec<Dag> {
    vec![nyc_weather_etl(), nyc_cross_checks()]
}

/// Returns a table as an asset that becomes stale after two hours without an update.
fn table(of: &TableSpec, group: &str) -> Asset {
    asset(&of.uri()).named(&format!("{}.{}", of.namespace, of.name)).group(group).fresh_within(hours(2))
}

/// [`fetch_weather`, `create_locations`] → `validate` → [`weather_to_iceberg`, `location_to_iceberg`], each hour.
fn nyc_weather_etl() -> Dag {
    dag("nyc_weather_etl")
        .describe("The weather of each hour and the taxi zones of New York, into the lake")
        .schedule("@hourly")
        .start("2024-01-01")
        .tags(["weather", "nyc"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            let fetched = d.add(fetch_weather(d.params::<Weather>()));
            let listed = d.add(create_locations());
            let checked = d.add(validate(fetched, listed));
            // Runs write overlapping hours: two concurrent writers would conflict, and one would have to write again.
            d.add(weather_to_iceberg(checked).max_active_over_runs(1).outlet(table(&HOURLY, "weather")));
            d.add(location_to_iceberg(checked).outlet(table(&ZONES, "reference")));
        })
}

/// Runs whenever new trips are loaded.
fn nyc_cross_checks() -> Dag {
    dag("nyc_cross_checks")
        .describe("What must hold between the tables of several pipelines: trips begin and end in known zones")
        .schedule(asset("lake://nyc_taxi/trips"))
        .start("2024-01-01")
        .tags(["quality", "nyc"])
        .max_active_runs(1)
        .build(|d| {
            d.add(trips_against_zones().inlet(asset("lake://nyc_taxi/trips")).inlet(asset(&ZONES.uri())));
        })
}
