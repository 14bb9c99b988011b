//! The bodies of the weather tasks. Between them lie objects in a bucket; what is published is published in the transaction
//! that records the success of its task.

mod check;
mod fetch;
mod publish;
mod trips;

pub use check::{Checked, Lot, validate};
pub use fetch::{Fetched, Listed, create_locations, fetch_weather};
pub use publish::{Published, location_to_iceberg, weather_to_iceberg};
pub use trips::trips_against_zones;

/// What was fetched, and what was checked.
pub const BUCKET: &str = "raw-weather-data";

/// An object's name in lineage.
fn object_uri(key: &str) -> String {
    format!("bucket://{BUCKET}/{key}")
}
