//! What must hold of each table before its days are replaced. A row that breaks a rule of ours is our mistake, so nothing is
//! published; what only the sources can be blamed for is told.

use super::demand::{FEATURES, ML_FEATURES};
use super::fares::FARES;
use super::hourly::{CORRELATION, PERFORMANCE};
use super::realtime::{ACTIVITY, AGGREGATIONS};
use crate::common::nyc::table::in_zones;
use orch::prelude::*;
use orch_lake::contract::{Contract, Policy};

/// No day of a city has more trips in one hour.
const MOST_TRIPS: i64 = 1_000_000;
const MOST_DOLLARS: i64 = 10_000;
const MOST_MILES: i64 = 1_000;
const MINUTES_A_DAY: i64 = 1_440;

pub fn correlation() -> Contract {
    CORRELATION
        .contract()
        .between("hour", 0, 23)
        .between("total_trips", 1, MOST_TRIPS)
        .between("pickup_zone_diversity", 1, 265)
        .at_least("avg_trip_duration_minutes", 0)
        .between("avg_fare_amount", 0, MOST_DOLLARS)
        .or(Policy::Warn)
        .between("avg_trip_distance", 0, MOST_MILES)
        .or(Policy::Warn)
}

pub fn performance() -> Contract {
    in_zones(PERFORMANCE.contract(), &["location_id"])
        .between("hour", 0, 23)
        .between("total_pickups", 0, MOST_TRIPS)
        .between("total_dropoffs", 0, MOST_TRIPS)
        .between("peak_hour_factor", 0, 24)
        .between("weather_impact_score", 1, "1.2")
        .between("avg_fare_per_pickup", 0, MOST_DOLLARS)
        .or(Policy::Warn)
}

pub fn features() -> Contract {
    in_zones(FEATURES.contract(), &["location_id"])
        .between("hour", 0, 23)
        .between("day_of_week", 1, 7)
        .at_least("rolling_avg_demand_7d", 0)
        .at_least("rolling_avg_demand_30d", 0)
        .between("weather_impact_factor", 1, "1.3")
        .continuous_by("prediction_datetime", hours(1), ["location_id"])
        .or(Policy::Warn)
}

pub fn ml_features() -> Contract {
    in_zones(ML_FEATURES.contract(), &["location_id"])
        .between("target_demand", 0, MOST_TRIPS)
        .between("weather_condition_encoded", 0, 5)
        .between("zone_popularity_score", 1, 10)
        .between("confidence_score", 0, 1)
        .at_least("rolling_std_7d", 0)
        .continuous_by("prediction_hour", hours(1), ["location_id"])
        .or(Policy::Warn)
}

pub fn fares() -> Contract {
    in_zones(FARES.contract(), &["pickup_zone_id", "dropoff_zone_id"])
        .between("passenger_count", 1, 6)
        .between("surge_factor", "0.8", "1.2")
        .at_least("distance_duration_ratio", 0)
        .between("fare_amount", 0, MOST_DOLLARS)
        .or(Policy::Warn)
        .between("trip_duration_minutes", 0, MINUTES_A_DAY)
        .or(Policy::Warn)
}

pub fn aggregations() -> Contract {
    in_zones(AGGREGATIONS.contract(), &["pickup_zone_id"])
        .between("total_trips", 1, MOST_TRIPS)
        .at_least("unique_vendors", 0)
        .between("avg_fare_amount", 0, MOST_DOLLARS)
        .or(Policy::Warn)
}

pub fn activity() -> Contract {
    in_zones(ACTIVITY.contract(), &["zone_id", "top_destination_zone"])
        .between("pickup_count", 0, MOST_TRIPS)
        .between("dropoff_count", 0, MOST_TRIPS)
        .at_least("activity_score", 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::demand::of_day;
    use crate::common::nyc::days::{DAY, Days};
    use crate::common::nyc::grid::Grid;
    use crate::common::nyc::schema::ZONES;
    use crate::common::nyc::sources::{Hours, Zone, Zones};
    use chrono::{DateTime, Utc};
    use orch_lake::contract::{CheckOutcome, Facts};

    #[test]
    fn a_day_without_trips_is_told_and_a_zone_that_is_not_there_publishes_nothing() {
        let days = Days { first: "2019-03-01".parse().expect("a day"), last: "2019-03-03".parse().expect("a day") };
        let (here, elsewhere) = (Zones::of(vec![Zone::numbered(1)]), Zones::of(vec![Zone::numbered(2)]));
        let mut grid = Grid::new(days, 1);
        [0, 2].into_iter().for_each(|day| grid.add(Some(0), days.micros().0 + day * DAY));
        let now: DateTime<Utc> = DateTime::UNIX_EPOCH;
        let batch = |day| FEATURES.batch(&of_day(&grid, &Hours::new(), &here, day), now).expect("a batch");
        let rows: Vec<_> = days.each().map(batch).collect();
        let check = |known: &Zones| {
            let facts = Facts::at(now).keys(ZONES.uri(), known.keys().expect("keys"));
            let report = features().check(&rows, &facts).expect("it can be asked");
            let bad = report.findings.iter().filter(|finding| finding.outcome != CheckOutcome::Pass);
            (report.ok().is_ok(), bad.map(|finding| finding.kind.clone()).collect::<Vec<_>>())
        };
        assert_eq!(check(&here), (true, vec!["continuity".into()]));
        assert_eq!(check(&elsewhere), (false, vec!["references".into(), "continuity".into()]));
    }
}
