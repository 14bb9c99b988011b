//! Fares of earlier trips, as known when a trip began. Trips count only if they began before it.

use crate::common::nyc::days::{DAY, HOUR};
use orch::TaskResult;
use polars::prelude::{Column, DataFrame};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};

/// Days before a trip whose fares count.
pub const HISTORY_DAYS: i64 = 7;
/// Bytes of the hash in a trip ID, which distinguishes trips of one vendor that began in the same second.
const HASH_BYTES: usize = 6;

/// Fares within a time span. Times must not decrease from call to call.
#[derive(Debug, Default)]
struct RecentFares {
    /// Microseconds, and cents.
    fares: VecDeque<(i64, i64)>,
    cents: i64,
}

impl RecentFares {
    /// Returns the number of fares in the span before `now`, and their mean in dollars.
    fn before(&mut self, now: i64, span: i64) -> (i64, Option<f64>) {
        while let Some((_, cents)) = self.fares.pop_front_if(|(at, _)| *at < now - span) {
            self.cents -= cents;
        }
        let count = self.fares.len();
        (count as i64, (count > 0).then(|| self.cents as f64 / 100.0 / count as f64))
    }

    fn add(&mut self, now: i64, cents: i64) {
        self.fares.push_back((now, cents));
        self.cents += cents;
    }
}

/// Fares of the trips so far, by route and by zone.
#[derive(Debug, Default)]
pub struct FareHistory {
    routes: HashMap<(i32, i32), RecentFares>,
    pickups: HashMap<i32, RecentFares>,
}

impl FareHistory {
    /// Adds what was known to the trips of a day: the mean fares of the route in 7 days (`route_7d`) and of the zone in the last
    /// hour (`zone_1h`), and the number of trips of that hour and zone, including the trip (`trips_1h`).
    ///
    /// Trips are sorted by time, and days are passed in order. Trips that begin at the same time do not count for each other.
    ///
    /// # Errors
    /// Returns an error if the frame lacks a column of `sql/fares.sql`.
    pub fn describe(&mut self, mut trips: DataFrame) -> TaskResult<DataFrame> {
        let longs = |name: &str| TaskResult::Ok(trips.column(name)?.i64()?.into_no_null_iter().collect::<Vec<i64>>());
        let zones = |name: &str| TaskResult::Ok(trips.column(name)?.i32()?.into_no_null_iter().collect::<Vec<i32>>());
        let (pickups, cents, from, to) = (longs("pickup")?, longs("cents")?, zones("from_zone")?, zones("to_zone")?);
        let rows: Vec<usize> = (0..pickups.len()).collect();
        let (mut route_7d, mut zone_1h, mut trips_1h) = (Vec::new(), Vec::new(), Vec::new());
        for together in rows.chunk_by(|one, other| pickups[*one] == pickups[*other]) {
            for &row in together {
                let (_, mean) = self.route(from[row], to[row]).before(pickups[row], HISTORY_DAYS * DAY);
                route_7d.push(mean);
                let (count, mean) = self.pickups.entry(from[row]).or_default().before(pickups[row], HOUR);
                zone_1h.push(mean);
                trips_1h.push(count + 1);
            }
            for &row in together {
                self.route(from[row], to[row]).add(pickups[row], cents[row]);
                self.pickups.entry(from[row]).or_default().add(pickups[row], cents[row]);
            }
        }
        trips.with_column(Column::new("route_7d".into(), route_7d))?;
        trips.with_column(Column::new("zone_1h".into(), zone_1h))?;
        trips.with_column(Column::new("trips_1h".into(), trips_1h))?;
        Ok(trips)
    }

    fn route(&mut self, from: i32, to: i32) -> &mut RecentFares {
        self.routes.entry((from, to)).or_default()
    }
}

/// Adds `trip_id` and `minutes` to the trips of a day. The city does not number trips, so the ID is the vendor, the time and a hash
/// of all columns. The ID of the second of two identical trips ends in `_2`.
///
/// # Errors
/// Returns an error if the frame lacks a column of `sql/fares.sql`.
pub fn identify(mut trips: DataFrame) -> TaskResult<DataFrame> {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut id = |start: &str, columns| {
        let digest = Sha256::digest(columns);
        let hash = digest.iter().take(HASH_BYTES).fold(0, |hash: u64, byte| (hash << 8) | u64::from(*byte));
        let count = seen.entry(columns).and_modify(|count| *count += 1).or_insert(1);
        if *count > 1 { format!("{start}{hash:012x}_{count}") } else { format!("{start}{hash:012x}") }
    };
    let (starts, columns) = (trips.column("id_start")?.str()?, trips.column("all_columns")?.str()?);
    let texts = starts.iter().flatten().zip(columns.iter().flatten());
    let ids: Vec<String> = texts.map(|(start, columns)| id(start, columns)).collect();
    let micros = trips.column("micros")?.i64()?;
    let minutes: Vec<f64> = micros.into_no_null_iter().map(|micros| micros as f64 / 60e6).collect();
    trips.with_column(Column::new("trip_id".into(), ids))?;
    trips.with_column(Column::new("minutes".into(), minutes))?;
    Ok(trips)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::df;

    #[test]
    fn a_trip_knows_only_those_that_began_before_it() {
        let trips = |rows: &[(i64, i64)]| {
            let (seconds, cents): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
            let zones = vec![1; rows.len()];
            let micros: Vec<i64> = seconds.iter().map(|at| at * 1_000_000).collect();
            let texts: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            let starts = vec!["2_"; rows.len()];
            df!("pickup" => micros.clone(), "cents" => cents, "from_zone" => zones.clone(), "to_zone" => zones,
                "micros" => micros, "id_start" => starts, "all_columns" => texts)
            .expect("a frame")
        };
        let (start, week) = (8 * 86_400, 86_400);
        let mut history = FareHistory::default();
        history.describe(trips(&[(week + 4, 5_000), (week + 5, 300)])).expect("a day");
        let day = trips(&[(start, 500), (start, 500), (start + 5, 900), (start + 4_000, 100)]);
        let day = identify(history.describe(day).expect("a day")).expect("IDs");
        let means = |name: &str| day.column(name).and_then(|of| Ok(of.f64()?.iter().collect::<Vec<_>>())).expect(name);
        assert_eq!(means("route_7d"), [Some(26.5), Some(26.5), Some(13.0 / 3.0), Some(19.0 / 3.0)]);
        assert_eq!(means("zone_1h"), [None, None, Some(5.0), None]);
        let ids = day.column("trip_id").and_then(|of| Ok(of.str()?.iter().flatten().collect::<Vec<_>>())).expect("IDs");
        assert!(ids[0].len() == 14 && ids[1].strip_suffix("_2") == Some(ids[0]) && ids[2].len() == 14, "{ids:?}");
    }
}
