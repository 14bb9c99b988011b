//! What a trip cost, and what one could know of it when it began: a row for each trip.
//!
//! Other trips count only if they began before this one.

use super::demand::{day_of_week, distance, encoded, is_weekend};
use crate::common::nyc::days::{DAY, Days};
use crate::common::nyc::grid::{Grid, HOUR, hour_of};
use crate::common::nyc::sources::{Hours, Trip, Weather, Zone, Zones};
use crate::common::nyc::table::{Table, computed, date, int, maybe_number, number, truth, written};
use chrono::{DateTime, NaiveDateTime, Timelike as _};
use iceberg::spec::Transform::Identity;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::Arc;

/// So far back a row looks.
pub const HISTORY_DAYS: i64 = 7;
/// Of the hash that tells apart trips of one vendor that began in the same second.
const HASH_BYTES: usize = 6;

/// One trip.
#[derive(Debug)]
pub struct Fare {
    hash: u64,
    /// Of trips that are the same in everything: 1 for the first.
    twin: u32,
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
    /// The city gives its trips no number: vendor, time, and a hash of all there is. Of those that are the same in everything the
    /// second one ends in `_2`.
    fn write_id(&self, to: &mut dyn Write) -> fmt::Result {
        if let Some(vendor) = self.trip.vendor {
            write!(to, "{vendor}")?;
        }
        write!(to, "_{}_{:012x}", self.trip.pickup.div_euclid(1_000_000), self.hash)?;
        if self.twin > 1 { write!(to, "_{}", self.twin) } else { Ok(()) }
    }

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
        written("trip_id", Fare::write_id),
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

/// The fares of a span of time before now. Time only goes forward.
#[derive(Clone, Default)]
struct Recent {
    fares: VecDeque<(i64, i64)>,
    sum: i64,
}

impl Recent {
    /// How many there were in that span, and their mean.
    fn before(&mut self, now: i64, span: i64) -> (usize, Option<f64>) {
        while let Some((_, fare)) = self.fares.pop_front_if(|(at, _)| *at < now - span) {
            self.sum -= fare;
        }
        let count = self.fares.len();
        (count, (count > 0).then(|| self.sum as f64 / 100.0 / count as f64))
    }

    fn add(&mut self, now: i64, fare: i64) {
        self.fares.push_back((now, fare));
        self.sum += fare;
    }
}

/// A trip between zones of the list.
struct Placed {
    trip: Trip,
    from: usize,
    to: usize,
}

/// What earlier trips say of later ones. Days come one after the other, each with all of its trips.
pub struct FareHistory {
    zones: Zones,
    weather: Hours,
    grid: Grid,
    /// From each zone to each.
    routes: Vec<Recent>,
    pickups: Vec<Recent>,
    /// Of each zone the hour that was asked last, and how many trips an hour with trips had in the week before it.
    usual: Vec<(i64, Option<f64>)>,
    /// The weather of the hour that was asked last.
    weather_now: (i64, Option<Arc<Weather>>),
}

impl FareHistory {
    /// For rows of these days. The days of the week before them have to be learnt first.
    pub fn new(days: Days, zones: Zones, weather: Hours) -> FareHistory {
        let count = zones.all().len();
        FareHistory {
            grid: Grid::new(history(days), count),
            routes: vec![Recent::default(); count * count],
            pickups: vec![Recent::default(); count],
            usual: vec![(i64::MIN, None); count],
            weather_now: (i64::MIN, None),
            zones,
            weather,
        }
    }

    /// Takes in a day that gets no rows, since later days look back to it.
    pub fn learn(&mut self, trips: Vec<Trip>) {
        for placed in self.placed(trips) {
            self.add(&placed);
        }
    }

    /// The rows of a day, by the time the trips began.
    pub fn rows(&mut self, trips: Vec<Trip>) -> Vec<Fare> {
        let placed = self.placed(trips);
        let (mut rows, mut alike, mut text) = (Vec::with_capacity(placed.len()), HashMap::new(), Vec::new());
        // Trips that begin in the same moment know nothing of each other.
        for together in placed.chunk_by(|one, other| one.trip.pickup == other.trip.pickup) {
            alike.clear();
            for placed in together {
                let hash = hash(&placed.trip, &mut text);
                let twin = match together.len() {
                    1 => 1,
                    _ => *alike.entry((placed.trip.vendor, hash)).and_modify(|count| *count += 1).or_insert(1),
                };
                rows.push(self.row(placed, hash, twin));
            }
            together.iter().for_each(|placed| self.add(placed));
        }
        rows
    }

    fn placed(&mut self, trips: Vec<Trip>) -> Vec<Placed> {
        let mut placed = Vec::with_capacity(trips.len());
        for trip in trips {
            let (from, to) = (self.zones.place(trip.from), self.zones.place(trip.to));
            self.grid.add(from, trip.pickup);
            if let (Some(from), Some(to), true) = (from, to, trip.fare > 0 && trip.distance > 0) {
                placed.push(Placed { trip, from, to });
            }
        }
        placed.sort_by_key(|placed| placed.trip.pickup);
        placed
    }

    fn row(&mut self, &Placed { trip, from, to }: &Placed, hash: u64, twin: u32) -> Fare {
        let (now, hour) = (trip.pickup, hour_of(trip.pickup));
        let (_, route_7d) = self.routes[from * self.pickups.len() + to].before(now, HISTORY_DAYS * DAY);
        let (count, zone_1h) = self.pickups[from].before(now, HOUR);
        if self.usual[from].0 != hour {
            self.usual[from] = (hour, self.grid.over(from, hour - HISTORY_DAYS * 24..hour).busy_mean());
        }
        if self.weather_now.0 != hour {
            self.weather_now = (hour, self.weather.get(&hour).cloned());
        }
        Fare {
            hash,
            twin,
            trip,
            at: DateTime::from_timestamp_micros(now).unwrap_or_default().naive_utc(),
            from: self.zones.all()[from].clone(),
            to: self.zones.all()[to].clone(),
            weather: self.weather_now.1.clone(),
            route_7d,
            zone_1h,
            surge: surge(count + 1, self.usual[from].1),
        }
    }

    fn add(&mut self, Placed { trip, from, to }: &Placed) {
        let count = self.pickups.len();
        self.routes[from * count + to].add(trip.pickup, trip.fare);
        self.pickups[*from].add(trip.pickup, trip.fare);
    }
}

/// Trips of the last hour, this one included, against those of an hour with trips in the week before.
fn surge(count: usize, usual: Option<f64>) -> f64 {
    match usual.map(|usual| count as f64 / usual) {
        Some(times) if times > 1.5 => 1.2,
        Some(times) if times < 0.5 => 0.8,
        _ => 1.0,
    }
}

/// The first bytes of SHA-256 over all columns of a trip.
fn hash(trip: &Trip, text: &mut Vec<u8>) -> u64 {
    let Trip { pickup, dropoff, from, to, vendor, passengers, distance, fare, tip, total } = *trip;
    text.clear();
    let [vendor, from, to, passengers] = [vendor, Some(from), Some(to), Some(passengers)].map(|it| it.map(i64::from));
    let (pickup, dropoff, distance, fare, total) =
        (Some(pickup), Some(dropoff), Some(distance), Some(fare), Some(total));
    for part in [vendor, pickup, dropoff, from, to, passengers, distance, fare, tip, total] {
        if let Some(part) = part {
            text.extend_from_slice(itoa::Buffer::new().format(part).as_bytes());
        }
        text.push(b'|');
    }
    text.pop();
    Sha256::digest(text).iter().take(HASH_BYTES).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte))
}

/// The days whose trips the rows of some days are made of.
pub fn history(days: Days) -> Days {
    days.and_before(HISTORY_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::days::day_of;

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
        let mut known = FareHistory::new(days, zones, Hours::new());
        let (before, today) = trips.into_iter().partition(|trip: &Trip| trip.day() < days.first);
        known.learn(before);
        let rows = known.rows(today);
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
        let [id, twin] = [&rows[0], &rows[1]].map(|row| {
            let mut id = String::new();
            row.write_id(&mut id).expect("text takes everything");
            id
        });
        assert!(twin.strip_suffix("_2") == Some(id.as_str()) && id.starts_with("2_691200_"), "{id} {twin}");
        let factors =
            [(4, Some(2.0)), (1, Some(2.5)), (3, Some(2.0)), (9, None)].map(|(count, usual)| surge(count, usual));
        assert_eq!(format!("{factors:?}"), "[1.2, 0.8, 1.0, 1.0]");
    }
}
