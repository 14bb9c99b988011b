//! The hourly weather with real processes, a real lake, and a fake API that returns valid and invalid responses.

pub(crate) mod api;
mod events;
mod faults;
mod hours;
mod shapes;

use crate::world::World;
use orch_dags::weather::hourly::options::{Location, Weather};
use serde_json::{Value, json};

pub(crate) const DAG: &str = "nyc_weather_etl";

/// Returns New York from the default cities.
pub(crate) fn new_york() -> Location {
    Weather::default().locations.into_iter().find(|location| location.name == "New York").unwrap()
}

/// Params of a run for New York alone, so that tests do not depend on the number of default cities.
fn of_new_york(hours: u32) -> Value {
    json!(Weather { hours, locations: vec![new_york()] })
}

/// Returns the result of a query as CSV lines, without its header.
fn sql(world: &World, query: &str) -> Vec<String> {
    let csv = world.run(&["sql", query, "-o", "csv"]).done();
    csv.lines().skip(1).map(String::from).collect()
}

/// Returns the metadata locations of the lake's tables, which change with every commit.
async fn tables(world: &World) -> String {
    world.csv("select table_name, metadata_location from lake.iceberg_tables order by 1").await
}
