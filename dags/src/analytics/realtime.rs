//! Trips as they are made and changed, in windows of five minutes by the time of the event: each event counts once, so a trip
//! that is changed counts again, as it did for the document.

use super::outlines::{GeoPoint, Index};
use crate::common::nyc::days::Days;
use crate::common::nyc::table::{Table, computed, int, long, maybe_int, maybe_number, moment, number};
use chrono::{DateTime, Utc};
use iceberg::spec::Transform;
use std::collections::{BTreeMap, BTreeSet};

/// Microseconds.
const WINDOW: i64 = 300_000_000;
/// The last hour is so many windows, the present one included.
const WINDOWS: i64 = 12;

/// A trip that was made or changed, with amounts in hundredths and places in degrees.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Microseconds since 1970.
    pub at: i64,
    pub vendor: Option<i32>,
    pub distance: i64,
    pub fare: i64,
    pub total: i64,
    pub pickup: Option<GeoPoint>,
    pub dropoff: Option<GeoPoint>,
}

/// What happened in a zone in five minutes.
#[derive(Debug, Clone, Default)]
struct Window {
    trips: i64,
    total: i64,
    distance: i64,
    fare: i64,
    vendors: BTreeSet<i32>,
    dropoffs: i64,
    /// Where its trips went.
    destinations: BTreeMap<i32, i64>,
}

impl Window {
    fn score(&self) -> f64 {
        0.4 * self.trips as f64 + 0.4 * (self.total as f64 / 100.0) / 100.0 + 0.2 * self.vendors.len() as f64
    }
}

/// All windows, by their start and zone.
#[derive(Debug, Default)]
pub struct Windows {
    of: BTreeMap<(i64, i32), Window>,
    /// Events that began in no zone.
    pub nowhere: u64,
}

impl Windows {
    /// The order of events does not matter.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Event>, index: &Index) -> Windows {
        let mut windows = Windows::default();
        for event in events {
            let start = event.at.div_euclid(WINDOW) * WINDOW;
            let [from, to] = [event.pickup, event.dropoff].map(|point| index.zone(point?));
            if let Some(to) = to {
                windows.of.entry((start, to)).or_default().dropoffs += 1;
            }
            let Some(from) = from else {
                windows.nowhere += 1;
                continue;
            };
            let window = windows.of.entry((start, from)).or_default();
            window.trips += 1;
            window.total += event.total;
            window.distance += event.distance;
            window.fare += event.fare;
            window.vendors.extend(event.vendor);
            if let Some(to) = to {
                *window.destinations.entry(to).or_default() += 1;
            }
        }
        windows
    }

    /// Those that began on these days.
    fn on(&self, days: Days) -> impl Iterator<Item = (&(i64, i32), &Window)> {
        let (from, end) = days.micros();
        self.of.range((from, i32::MIN)..(end, i32::MIN))
    }
}

fn time(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// A window with trips.
#[derive(Debug)]
pub struct Aggregation {
    start: i64,
    zone: i32,
    window: Window,
}

pub static AGGREGATIONS: Table<Aggregation> = Table {
    namespace: "realtime",
    name: "trip_aggregations",
    key: &["window_start", "pickup_zone_id"],
    partition: &[("window_start", Transform::Day)],
    day: "window_start",
    columns: &[
        moment("window_start", |of| time(of.start)),
        moment("window_end", |of| time(of.start + WINDOW)),
        int("pickup_zone_id", |of| of.zone),
        long("total_trips", |of| of.window.trips),
        number("total_revenue", |of| of.window.total as f64 / 100.0),
        number("avg_trip_distance", |of| of.window.distance as f64 / 100.0 / of.window.trips as f64),
        number("avg_fare_amount", |of| of.window.fare as f64 / 100.0 / of.window.trips as f64),
        long("unique_vendors", |of| of.window.vendors.len() as i64),
        computed("processed_at"),
    ],
    chart: "select window_start, sum(total_trips) as trips from realtime.trip_aggregations group by 1 order by 1 desc limit 288",
};

pub fn aggregations(windows: &Windows, days: Days) -> Vec<Aggregation> {
    let made = windows.on(days).filter(|(_, window)| window.trips > 0);
    made.map(|(&(start, zone), window)| Aggregation { start, zone, window: window.clone() }).collect()
}

/// A zone at the end of a window in which something happened there.
#[derive(Debug)]
pub struct Activity {
    zone: i32,
    end: i64,
    window: Window,
    /// Its last hour.
    trips: i64,
    total: i64,
    fare: i64,
    top_destination: Option<i32>,
}

pub static ACTIVITY: Table<Activity> = Table {
    namespace: "realtime",
    name: "zone_activity",
    key: &["zone_id", "activity_timestamp"],
    partition: &[("activity_timestamp", Transform::Hour)],
    day: "activity_timestamp",
    columns: &[
        int("zone_id", |of| of.zone),
        moment("activity_timestamp", |of| time(of.end)),
        long("pickup_count", |of| of.window.trips),
        long("dropoff_count", |of| of.window.dropoffs),
        number("revenue_last_hour", |of| of.total as f64 / 100.0),
        maybe_number("avg_fare_last_hour", |of| (of.trips > 0).then(|| of.fare as f64 / 100.0 / of.trips as f64)),
        maybe_int("top_destination_zone", |of| of.top_destination),
        number("activity_score", |of| of.window.score()),
        computed("processed_at"),
    ],
    chart: "select activity_timestamp, sum(pickup_count) as pickups from realtime.zone_activity group by 1 order by 1 desc limit 288",
};

pub fn activity(windows: &Windows, days: Days) -> Vec<Activity> {
    let row = |(&(start, zone), window): (&(i64, i32), &Window)| {
        let ago = (0..WINDOWS).filter_map(|ago| windows.of.get(&(start - ago * WINDOW, zone)));
        let (mut trips, mut total, mut fare, mut to) = (0, 0, 0, BTreeMap::<i32, i64>::new());
        for before in ago {
            trips += before.trips;
            total += before.total;
            fare += before.fare;
            before.destinations.iter().for_each(|(zone, count)| *to.entry(*zone).or_default() += count);
        }
        // Of those that are as frequent the lowest number.
        let top_destination = to.into_iter().max_by_key(|(zone, count)| (*count, -zone)).map(|(zone, _)| zone);
        Activity { zone, end: start + WINDOW, window: window.clone(), trips, total, fare, top_destination }
    };
    windows.on(days).map(row).collect()
}
