//! The DAG of the taxi pipeline.

use super::NAMESPACE;
use super::options::Taxi;
use super::tasks::{extract_taxi_data, process_to_iceberg, update_control_table, validate_data};
use orch::Asset;
use orch::prelude::*;

fn table(name: &str) -> Asset {
    asset(&format!("lake://{NAMESPACE}/{name}")).named(&format!("{NAMESPACE}.{name}")).group(NAMESPACE)
}

/// Loads the due months every six hours, or the months that a run or a backfill names.
pub fn nyc_taxi_iceberg_etl() -> Dag {
    dag("nyc_taxi_iceberg_etl")
        .alias("simple_nyc_taxi_etl")
        .describe("Each month's file of trips → nyc_taxi.trips and nyc_taxi.daily_summary")
        .schedule(cron("0 */6 * * *"))
        .start("2024-01-01")
        .tags(["taxi"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            let files = d.add(extract_taxi_data(d.params::<Taxi>()));
            let valid = d.map(files, validate_data);
            let published =
                d.map(valid, |file| process_to_iceberg(file).outlet(table("trips")).outlet(table("daily_summary")));
            d.add(update_control_table(published));
        })
}
