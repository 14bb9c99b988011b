//! What a trip cost, and what one could know of it when it began: a row for each trip.
//!
//! Other trips count only if they began before this one.

use super::demand::{day_of_week, distance, encoded, is_weekend};
use super::grid::{Grid, HOUR, hour_of};
use super::options::{DAY, Days};
use super::sources::{Hours, Trip, Weather, Zone, Zones};
use super::table::{Table, computed, date, int, maybe_number, number, text, truth};
use chrono::{DateTime, NaiveDateTime, Timelike as _};
use iceberg::spec::Transform::Identity;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

/// So far back a row looks.
pub const HISTORY_DAYS: i64 = 7;
/// Of the hash that tells apart trips of one vendor that began in the same second.
const HASH_BYTES: usize = 6;

/// One trip.
#[derive(Debug)]
pub struct Fare {
    id: String,
    trip: Trip,
    at: NaiveDateTime,
    from: Arc<Zone>,
    to: Arc<Zone>,
    weather: Option<Arc<Weather>>,
    route_7d: Option<f64>,
    zone_1h: Option<f64>,
    surge: f64,
}

impl Fare {
    fn fare(&self) -> f64 {
        self.trip.fare as f64 / 100.0
    }

    fn miles(&self) -> f64 {
        self.trip.distance as f64 / 100.0
    }

    fn encoded(&self) -> i32 {
        encoded(self.weather.as_deref(), 1)
    }

    fn is_rush_hour(&self) -> bool {
        matches!(self.at.hour(), 7..=9 | 17..=19)
    }

    fn is_bad_weather(&self) -> bool {
        self.weather.as_ref().is_some_and(|weather| ["rain", "snow", "fog"].contains(&weather.condition.as_str()))
    }

    fn miles_an_hour(&self) -> f64 {
        let minutes = self.trip.minutes();
        if minutes > 0.0 { self.miles() / (minutes / 60.0) } else { 0.0 }
    }
}

fn borough(zone: &Zone) -> i32 {
    match zone.borough.as_str() {
        "Manhattan" => 1,
        "Brooklyn" => 2,
        "Queens" => 3,
        "Bronx" => 4,
        "Staten Island" => 5,
        _ => 0,
    }
}

pub static FARES: Table<Fare> = Table {
    namespace: "ml",
    name: "fare_prediction_features",
    key: &["trip_id"],
    partition: &[("feature_date", Identity)],
    day: "feature_date",
    columns: &[
        text("trip_id", |of| &of.id),
        number("fare_amount", Fare::fare),
        number("trip_distance", Fare::miles),
        number("trip_duration_minutes", |of| of.trip.minutes()),
        int("passenger_count", |of| of.trip.passengers),
        int("pickup_zone_id", |of| of.from.id),
        int("dropoff_zone_id", |of| of.to.id),
        int("pickup_borough_encoded", |of| borough(&of.from)),
        int("dropoff_borough_encoded", |of| borough(&of.to)),
        maybe_number("zone_distance_km", |of| Some(distance(of.from.centre?, of.to.centre?))),
        truth("is_airport_trip", |of| of.from.kind == "airport" || of.to.kind == "airport"),
        truth("is_cross_borough", |of| of.from.borough != of.to.borough),
        int("pickup_hour", |of| of.at.hour().cast_signed()),
        int("pickup_day_of_week", |of| day_of_week(of.at)),
        truth("is_rush_hour", Fare::is_rush_hour),
        truth("is_weekend", |of| is_weekend(of.at)),
        int("weather_condition_encoded", Fare::encoded),
        number("temperature_celsius", |of| of.weather.as_ref().map_or(20.0, |weather| weather.temperature)),
        truth("is_bad_weather", Fare::is_bad_weather),
        number("avg_fare_same_route_7d", |of| of.route_7d.unwrap_or(of.fare())),
        number("avg_fare_pickup_zone_1h", |of| of.zone_1h.unwrap_or(of.fare())),
        number("surge_factor", |of| of.surge),
        number("distance_duration_ratio", Fare::miles_an_hour),
        number("weather_distance_interaction", |of| f64::from(of.encoded()) * of.miles()),
        number("rush_hour_distance_interaction", |of| f64::from(u8::from(of.is_rush_hour())) * of.miles()),
        date("feature_date", |of| of.trip.day()),
        computed("created_at"),
    ],
    chart: "select pickup_hour, avg(fare_amount) as \"mean fare\" from ml.fare_prediction_features \
            group by 1 order by 1",
};

/// The fares of a span of time before now, by something that trips have in common. Time only goes forward.
struct Recent<K> {
    span: i64,
    of: HashMap<K, (VecDeque<(i64, i64)>, i64)>,
}

impl<K: Eq + Hash> Recent<K> {
    fn of(span: i64) -> Recent<K> {
        Recent { span, of: HashMap::new() }
    }

    /// How many there were, and their mean.
    fn before(&mut self, key: &K, now: i64) -> (usize, Option<f64>) {
        let Some((fares, sum)) = self.of.get_mut(key) else { return (0, None) };
        while let Some((_, fare)) = fares.pop_front_if(|(at, _)| *at < now - self.span) {
            *sum -= fare;
        }
        (fares.len(), (!fares.is_empty()).then(|| *sum as f64 / 100.0 / fares.len() as f64))
    }

    fn add(&mut self, key: K, now: i64, fare: i64) {
        let (fares, sum) = self.of.entry(key).or_default();
        fares.push_back((now, fare));
        *sum += fare;
    }
}

/// The trips of these days, by the time they began. Given are those of the week before them too.
pub fn of_days(mut trips: Vec<Trip>, weather: &Hours, zones: &Zones, days: Days) -> Vec<Fare> {
    let mut grid = Grid::new(history(days), zones.all().len());
    trips.iter().for_each(|trip| grid.add(zones.place(trip.from), trip.pickup));
    trips.retain(|trip| zones.place(trip.from).is_some() && zones.place(trip.to).is_some());
    trips.retain(|trip| trip.fare > 0 && trip.distance > 0);
    trips.sort_by_key(|trip| trip.pickup);
    let (mut routes, mut pickups) = (Recent::of(HISTORY_DAYS * DAY), Recent::of(HOUR));
    let (mut rows, mut alike) = (Vec::new(), HashMap::new());
    // Trips that begin in the same moment know nothing of each other.
    for together in trips.chunk_by(|one, other| one.pickup == other.pickup) {
        alike.clear();
        for trip in together.iter().filter(|trip| days.has(trip.day())) {
            let (Some(from), Some(to)) = (zones.get(trip.from), zones.get(trip.to)) else { continue };
            let (_, route_7d) = routes.before(&(trip.from, trip.to), trip.pickup);
            let (count, zone_1h) = pickups.before(&trip.from, trip.pickup);
            let hour = hour_of(trip.pickup);
            let usual =
                zones.place(trip.from).and_then(|zone| grid.over(zone, hour - HISTORY_DAYS * 24..hour).busy_mean());
            rows.push(Fare {
                id: id(trip, &mut alike),
                trip: *trip,
                at: DateTime::from_timestamp_micros(trip.pickup).unwrap_or_default().naive_utc(),
                from: from.clone(),
                to: to.clone(),
                weather: weather.get(&hour).cloned(),
                route_7d,
                zone_1h,
                surge: surge(count + 1, usual),
            });
        }
        for trip in together {
            routes.add((trip.from, trip.to), trip.pickup, trip.fare);
            pickups.add(trip.from, trip.pickup, trip.fare);
        }
    }
    rows
}

/// Trips of the last hour, this one included, against those of an hour with trips in the week before.
fn surge(count: usize, usual: Option<f64>) -> f64 {
    match usual.map(|usual| count as f64 / usual) {
        Some(times) if times > 1.5 => 1.2,
        Some(times) if times < 0.5 => 0.8,
        _ => 1.0,
    }
}

/// The city gives its trips no number: vendor, time, and a hash of all there is. Of those that are the same in everything the
/// second one ends in `_2`.
fn id(trip: &Trip, alike: &mut HashMap<String, u32>) -> String {
    let Trip { pickup, dropoff, from, to, vendor, passengers, distance, fare, tip, total } = trip;
    let vendor = vendor.map_or_else(String::new, |vendor| vendor.to_string());
    let tip = tip.map_or_else(String::new, |tip| tip.to_string());
    let all = format!("{vendor}|{pickup}|{dropoff}|{from}|{to}|{passengers}|{distance}|{fare}|{tip}|{total}");
    let hash = Sha256::digest(all).iter().take(HASH_BYTES).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    let id = format!("{vendor}_{}_{hash:012x}", pickup.div_euclid(1_000_000));
    let count = alike.entry(id.clone()).and_modify(|count| *count += 1).or_insert(1);
    if *count > 1 { format!("{id}_{count}") } else { id }
}

/// The days whose trips the rows of some days are made of.
pub fn history(days: Days) -> Days {
    days.and_before(HISTORY_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::options::day_of;

    fn trip(seconds: i64, fare: i64) -> Trip {
        let (pickup, distance) = (seconds * 1_000_000, 100);
        let (dropoff, total) = (pickup + 600_000_000, fare);
        Trip { pickup, dropoff, from: 1, to: 1, vendor: Some(2), passengers: 1, distance, fare, tip: None, total }
    }

    #[test]
    fn a_trip_knows_only_those_that_began_before_it() {
        let zones = Zones::of(vec![Zone::numbered(1)]);
        let days = Days { first: day_of(8 * DAY), last: day_of(8 * DAY) };
        let start = 8 * 86_400;
        let week = start - 7 * 86_400;
        let trips = vec![
            trip(start + 5, 900),
            trip(week + 4, 5_000),
            trip(week + 5, 300),
            trip(start, 500),
            trip(start, 500),
            trip(start + 4_000, 100),
        ];
        let rows = of_days(trips, &Hours::new(), &zones, days);
        let known: Vec<_> = rows.iter().map(|row| (row.trip.fare, row.route_7d, row.zone_1h)).collect();
        assert_eq!(
            known,
            [
                (500, Some(26.5), None),
                (500, Some(26.5), None),
                (900, Some(13.0 / 3.0), Some(5.0)),
                (100, Some(19.0 / 3.0), None),
            ]
        );
        assert!(rows[1].id.strip_suffix("_2") == Some(rows[0].id.as_str()) && rows[0].id.starts_with("2_691200_"));
        let factors =
            [(4, Some(2.0)), (1, Some(2.5)), (3, Some(2.0)), (9, None)].map(|(count, usual)| surge(count, usual));
        assert_eq!(format!("{factors:?}"), "[1.2, 0.8, 1.0, 1.0]");
    }
}
