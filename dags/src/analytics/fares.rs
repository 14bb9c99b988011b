//! Fares of earlier trips, as known when a trip started. A trip counts only if it started earlier.

use crate::common::nyc::days::{DAY, HOUR};
use orch::TaskResult;
use polars::prelude::{Column, DataFrame, DataType, Int64Chunked, IntoColumn as _, PlHashMap, StringChunkedBuilder};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// Number of days before a trip whose fares count.
pub const HISTORY_DAYS: i64 = 7;
/// Number of hash bytes in a trip ID. The hash distinguishes trips of one vendor that started in the same second.
const HASH_BYTES: usize = 6;

/// Fares within a time span. Times must not decrease from call to call.
#[derive(Debug, Default)]
struct RecentFares {
    /// Times in microseconds, with fares in cents.
    fares: VecDeque<(i64, i64)>,
    cents: i64,
    /// Newest time, and the number and sum in cents of the fares before it.
    newest: Option<(i64, usize, i64)>,
}

impl RecentFares {
    /// Adds a fare. Returns the number of fares in the span before it, and their mean in dollars. Excludes fares at the
    /// same time.
    fn add(&mut self, now: i64, cents: i64, span: i64) -> (i64, Option<f64>) {
        let (count, before) = match self.newest {
            Some((at, count, before)) if at == now => (count, before),
            _ => {
                while let Some((_, cents)) = self.fares.pop_front_if(|(at, _)| *at < now - span) {
                    self.cents -= cents;
                }
                (self.fares.len(), self.cents)
            }
        };
        self.newest = Some((now, count, before));
        self.fares.push_back((now, cents));
        self.cents += cents;
        (count as i64, (count > 0).then(|| before as f64 / 100.0 / count as f64))
    }
}

/// Fares of all trips so far, by route and by zone.
#[derive(Debug, Default)]
pub struct FareHistory {
    routes: PlHashMap<(i32, i32), RecentFares>,
    pickups: PlHashMap<i32, RecentFares>,
}

impl FareHistory {
    /// Adds features to the trips of a day: the mean fares of the route in 7 days (`route_7d`) and of the zone in the
    /// last hour (`zone_1h`), and the number of trips of that hour and zone, including the trip (`trips_1h`).
    ///
    /// Trips must be sorted by time, and days must be passed in order. Trips that start at the same time do not count
    /// for each other.
    ///
    /// # Errors
    /// Returns an error if the frame lacks a column of `sql/fares.sql`.
    pub fn describe(&mut self, mut trips: DataFrame) -> TaskResult<DataFrame> {
        let (times, cents) = (trips.column("pickup")?.i64()?, trips.column("cents")?.i64()?);
        let (from, to) = (trips.column("from_zone")?.i32()?, trips.column("to_zone")?.i32()?);
        let count = trips.height();
        let (mut route_7d, mut zone_1h) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut trips_1h = Vec::with_capacity(count);
        let zones = from.into_no_null_iter().zip(to.into_no_null_iter());
        for ((now, cents), (from, to)) in times.into_no_null_iter().zip(cents.into_no_null_iter()).zip(zones) {
            let (_, mean) = self.routes.entry((from, to)).or_default().add(now, cents, HISTORY_DAYS * DAY);
            route_7d.push(mean);
            let (count, mean) = self.pickups.entry(from).or_default().add(now, cents, HOUR);
            zone_1h.push(mean);
            trips_1h.push(count + 1);
        }
        trips.with_column(Column::new("route_7d".into(), route_7d))?;
        trips.with_column(Column::new("zone_1h".into(), zone_1h))?;
        trips.with_column(Column::new("trips_1h".into(), trips_1h))?;
        Ok(trips)
    }
}

/// Columns that a trip ID is computed from.
const IDENTITY: [&str; 10] = [
    "vendor",
    "pickup",
    "dropoff",
    "from_zone",
    "to_zone",
    "passengers",
    "hundredths",
    "cents",
    "tip_cents",
    "total_cents",
];

/// Adds `trip_id` to the trips of a day, which are sorted by time. The city does not number trips, so the ID is the
/// vendor, the time and a hash of all columns. The ID of the second of two identical trips ends in `_2`.
///
/// # Errors
/// Returns an error if the frame lacks a column of `sql/fares.sql`.
pub fn identify(mut trips: DataFrame) -> TaskResult<DataFrame> {
    let numbers = |name: &str| TaskResult::Ok(trips.column(name)?.cast(&DataType::Int64)?.i64()?.clone());
    let columns = IDENTITY.iter().map(|name| numbers(name)).collect::<TaskResult<Vec<_>>>()?;
    let mut columns: Vec<_> = columns.iter().map(Int64Chunked::iter).collect();
    let mut ids = StringChunkedBuilder::new("trip_id".into(), trips.height());
    let (mut number, mut values, mut id) = (itoa::Buffer::new(), String::new(), String::new());
    let (mut together, mut hashes) = (i64::MIN, PlHashMap::<u64, u32>::default());
    for pickup in trips.column("pickup")?.i64()?.into_no_null_iter() {
        values.clear();
        for column in &mut columns {
            if let Some(value) = column.next().flatten() {
                values.push_str(number.format(value));
            }
            values.push('|');
        }
        values.pop();
        let digest = Sha256::digest(&values);
        let hash = digest.iter().take(HASH_BYTES).fold(0, |hash: u64, byte| (hash << 8) | u64::from(*byte));
        // Identical trips start at the same time.
        if pickup != together {
            hashes.clear();
            together = pickup;
        }
        let count = hashes.entry(hash).and_modify(|count| *count += 1).or_insert(1);
        id.clear();
        write!(id, "{}_{}_{hash:012x}", values.split('|').next().unwrap_or_default(), pickup.div_euclid(1_000_000))?;
        if *count > 1 {
            write!(id, "_{count}")?;
        }
        ids.append_value(&id);
    }
    trips.with_column(ids.finish().into_column())?;
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
            let (none, two) = (vec![None::<i64>; rows.len()], vec![2; rows.len()]);
            df!("pickup" => micros.clone(), "dropoff" => micros, "cents" => cents.clone(), "from_zone" => zones.clone(),
                "to_zone" => zones, "vendor" => two.clone(), "passengers" => two.clone(), "hundredths" => two,
                "tip_cents" => none, "total_cents" => cents)
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
        assert_eq!(ids[0], "2_691200_61904772889f", "SHA-256 of `2|691200000000|691200000000|1|1|2|2|500||500`");
        assert_eq!((ids[1].strip_suffix("_2"), ids[2].len()), (Some(ids[0]), ids[0].len()), "{ids:?}");
    }
}
