//! What must hold of trips before anybody sees them. A place that is none is put aside, with the reason; what is only
//! strange is told. There is no check that trips are unique: the city gives them no number, and two may be alike.

use super::clean::CleaningCounts;
use super::schema::daily_summary;
use super::table_uri;
use orch_lake::contract::{CheckOutcome, CheckResult, Contract, Policy};

/// The places that there are.
pub const ZONES: &str = "reference.taxi_zones";
/// Further than that a taxi rarely goes, in miles.
const MOST_MILES: &str = "1000.00";
const MOST_DOLLARS: &str = "10000.00";
const PLACES: [&str; 2] = ["pickup_location_id", "dropoff_location_id"];

/// Whether the zones of the city are there to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zones {
    Known,
    /// Nobody has made that table yet.
    Missing,
}

pub fn trips(zones: Zones) -> Contract {
    let contract = Contract::of(table_uri("trips"))
        .key(["pickup_datetime", "pickup_location_id", "dropoff_location_id"])
        .not_null(PLACES)
        .or(Policy::Quarantine)
        .at_most("trip_distance", MOST_MILES)
        .or(Policy::Warn)
        .at_most("total_amount", MOST_DOLLARS)
        .or(Policy::Warn);
    match zones {
        Zones::Missing => contract,
        Zones::Known => PLACES
            .into_iter()
            .fold(contract, |contract, place| contract.references([place], ZONES).or(Policy::Quarantine)),
    }
}

pub fn summary() -> Contract {
    Contract::of(table_uri("daily_summary"))
        .key(["trip_date"])
        .schema(&daily_summary())
        .unique(["trip_date"])
        .at_least("total_trips", 1)
}

/// What the rules found that no check of rows asks for.
pub fn findings(found: &CleaningCounts, zones: Zones) -> Vec<CheckResult> {
    let told = |name: &str, kind: &str, bad: u64, sample: String| CheckResult {
        name: name.into(),
        kind: kind.into(),
        policy: Policy::Warn,
        outcome: if sample.is_empty() { CheckOutcome::Pass } else { CheckOutcome::of_bad(Policy::Warn) },
        rows: found.rows,
        bad,
        sample,
    };
    let counted = |name: &str, bad: u64, what: &str| {
        told(name, "range", bad, if bad == 0 { String::new() } else { format!("{bad} rows {what}") })
    };
    let mut all = vec![
        counted("pickup_datetime is in the month of its file", found.out_of_month, "are of another month"),
        counted("dropoff_datetime is not before pickup_datetime", found.negative_duration, "end before they begin"),
    ];
    if zones == Zones::Missing {
        let sample = || format!("`{ZONES}` is not there yet, so its places are unknown");
        all.extend(PLACES.map(|place| told(&format!("{place} is in {ZONES}"), "references", 0, sample())));
    }
    all
}
