//! The hourly weather with real processes, a real lake, and an API on this machine that has good and bad moods.

pub(crate) mod api;
mod events;
mod faults;
mod hours;
mod shapes;

use crate::world::World;

pub(crate) const DAG: &str = "nyc_weather_etl";

/// What a query gives, as CSV without its header.
fn sql(world: &World, query: &str) -> Vec<String> {
    let csv = world.run(&["sql", query, "-o", "csv"]).done();
    csv.lines().skip(1).map(String::from).collect()
}

/// What the tables of the lake are now: where their metadata is.
async fn tables(world: &World) -> String {
    world.csv("select table_name, metadata_location from lake.iceberg_tables order by 1").await
}
