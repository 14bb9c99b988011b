//! The contracts of `trips` and `daily_summary`. Trips are not checked for uniqueness: the city gives them no number, and
//! two may have the same values.

use super::schema::{self, TRIPS};
use orch_lake::contract::{Contract, Policy};

pub const ZONES: &str = "reference.taxi_zones";
const MAX_USUAL_MILES: &str = "1000.00";
const MAX_USUAL_DOLLARS: &str = "10000.00";

/// Without known zones, trips to unknown zones are not quarantined.
pub fn trips(has_zones: bool) -> Contract {
    let unknown_zone = if has_zones { Policy::Quarantine } else { Policy::Warn };
    Contract::of(TRIPS.uri())
        .key(["pickup_datetime", "pickup_location_id", "dropoff_location_id"])
        .not_null(["pickup_location_id", "dropoff_location_id"])
        .or(Policy::Quarantine)
        .at_most("trip_distance", MAX_USUAL_MILES)
        .or(Policy::Warn)
        .at_most("total_amount", MAX_USUAL_DOLLARS)
        .or(Policy::Warn)
        .references(["pickup_location_id"], ZONES)
        .or(unknown_zone)
        .references(["dropoff_location_id"], ZONES)
        .or(unknown_zone)
}

pub fn daily_summary() -> Contract {
    schema::daily_summary().table.contract().key(["trip_date"]).unique(["trip_date"]).at_least("total_trips", 1)
}
