//! Trips by hour and zone: what the weather does to them, and how the zones of the city do.

use crate::common::nyc::days::{DAY, Days};
use crate::common::nyc::grid::{hour_of, split};
use crate::common::nyc::sources::{Hours, Trip, UNKNOWN, Weather, Zone, Zones};
use crate::common::nyc::table::{Table, computed, date, int, long, maybe_number, number, text, truth};
use chrono::{Datelike as _, NaiveDate};
use iceberg::spec::Transform::Identity;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Parts of a percent that are added up: whole numbers are the same in whatever order.
const PERCENT: i128 = 1_000_000_000_000;

/// Trips of an hour, of one zone or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    pub trips: i64,
    pub dropoffs: i64,
    distance: i64,
    fare: i64,
    tips: i64,
    tipped: i64,
    /// In parts of a percent of the fare.
    shares: i128,
    micros: i64,
    timed: i64,
}

impl Cell {
    fn add(&mut self, trip: &Trip) {
        self.trips += 1;
        self.distance += trip.distance;
        self.fare += trip.fare;
        if let Some(tip) = trip.tip {
            self.tips += tip;
            self.tipped += 1;
            self.shares += if trip.fare > 0 { i128::from(tip) * 100 * PERCENT / i128::from(trip.fare) } else { 0 };
        }
        // One that ends before it begins has no duration that could be true.
        if trip.dropoff >= trip.pickup {
            self.micros += trip.dropoff - trip.pickup;
            self.timed += 1;
        }
    }

    fn and(&mut self, other: &Cell) {
        self.trips += other.trips;
        self.dropoffs += other.dropoffs;
        self.distance += other.distance;
        self.fare += other.fare;
        self.tips += other.tips;
        self.tipped += other.tipped;
        self.shares += other.shares;
        self.micros += other.micros;
        self.timed += other.timed;
    }

    fn mean_distance(&self) -> Option<f64> {
        mean(self.distance as f64 / 100.0, self.trips)
    }

    fn mean_fare(&self) -> Option<f64> {
        mean(self.fare as f64 / 100.0, self.trips)
    }

    fn mean_tip(&self) -> Option<f64> {
        mean(self.tips as f64 / 100.0, self.tipped)
    }

    fn mean_tip_percentage(&self) -> Option<f64> {
        mean(self.shares as f64 / PERCENT as f64, self.tipped)
    }

    fn mean_minutes(&self) -> Option<f64> {
        mean(self.micros as f64 / 60e6, self.timed)
    }
}

fn mean(sum: f64, of: i64) -> Option<f64> {
    (of > 0).then(|| sum / of as f64)
}

/// Trips of some days, by hour and zone.
#[derive(Debug)]
pub struct Cells {
    /// From the first midnight to the last.
    days: Range<i64>,
    of: BTreeMap<(i64, i32), Cell>,
}

impl Cells {
    pub fn new(days: Days) -> Cells {
        let (from, end) = days.micros();
        Cells { days: from..end, of: BTreeMap::new() }
    }

    /// A trip counts where and when it began. Where it ended it counts in the hour it ended, if it began on that day or the
    /// one before.
    pub fn add(&mut self, trip: &Trip) {
        if self.days.contains(&trip.pickup) {
            self.of.entry((hour_of(trip.pickup), trip.from)).or_default().add(trip);
        }
        let days_later = trip.dropoff.div_euclid(DAY) - trip.pickup.div_euclid(DAY);
        if (0..=1).contains(&days_later) && self.days.contains(&trip.dropoff) {
            self.of.entry((hour_of(trip.dropoff), trip.to)).or_default().dropoffs += 1;
        }
    }
}

fn condition(weather: Option<&Arc<Weather>>) -> &str {
    weather.map_or(UNKNOWN, |weather| &weather.condition)
}

/// All trips that began in an hour, and its weather.
#[derive(Debug)]
pub struct Hour {
    day: NaiveDate,
    hour: i32,
    weather: Option<Arc<Weather>>,
    all: Cell,
    zones: i32,
}

pub static CORRELATION: Table<Hour> = Table {
    namespace: "analytics",
    name: "trip_weather_correlation",
    key: &["trip_date", "hour", "weather_condition"],
    partition: &[("year", Identity), ("month", Identity)],
    day: "trip_date",
    columns: &[
        date("trip_date", |of| of.day),
        int("hour", |of| of.hour),
        text("weather_condition", |of| condition(of.weather.as_ref())),
        maybe_number("temperature_celsius", |of| of.weather.as_ref().map(|weather| weather.temperature)),
        maybe_number("humidity_percent", |of| of.weather.as_ref()?.humidity),
        maybe_number("wind_speed_kmh", |of| of.weather.as_ref()?.wind),
        long("total_trips", |of| of.all.trips),
        maybe_number("avg_trip_distance", |of| of.all.mean_distance()),
        maybe_number("avg_fare_amount", |of| of.all.mean_fare()),
        maybe_number("avg_tip_amount", |of| of.all.mean_tip()),
        maybe_number("avg_trip_duration_minutes", |of| of.all.mean_minutes()),
        int("pickup_zone_diversity", |of| of.zones),
        computed("load_date"),
        int("year", |of| of.day.year()),
        int("month", |of| of.day.month().cast_signed()),
        int("day", |of| of.day.day().cast_signed()),
    ],
    chart: "select weather_condition, avg(total_trips) as \"trips per hour\" from analytics.trip_weather_correlation \
            group by 1 order by 2 desc",
};

/// One row for each hour in which a trip began.
pub fn by_hour(cells: &Cells, weather: &Hours) -> Vec<Hour> {
    let mut hours: BTreeMap<i64, (Cell, i32)> = BTreeMap::new();
    for ((hour, _), cell) in cells.of.iter().filter(|(_, cell)| cell.trips > 0) {
        let (all, zones) = hours.entry(*hour).or_default();
        all.and(cell);
        *zones += 1;
    }
    let row = |(hour, (all, zones)): (i64, (Cell, i32))| {
        let (day, of_day) = split(hour);
        Hour { day, hour: of_day, weather: weather.get(&hour).cloned(), all, zones }
    };
    hours.into_iter().map(row).collect()
}

/// What began and ended in a zone in an hour.
#[derive(Debug)]
pub struct ZoneHour {
    zone: Arc<Zone>,
    day: NaiveDate,
    hour: i32,
    weather: Option<Arc<Weather>>,
    cell: Cell,
    /// Pickups of an hour of that day, where there were any.
    usual: Option<f64>,
}

impl ZoneHour {
    fn peak_hour_factor(&self) -> f64 {
        self.usual.map_or(1.0, |usual| self.cell.trips as f64 / usual)
    }

    fn weather_impact_score(&self) -> f64 {
        match condition(self.weather.as_ref()) {
            "rain" | "snow" => 1.2,
            "fog" => 1.1,
            _ => 1.0,
        }
    }
}

pub static PERFORMANCE: Table<ZoneHour> = Table {
    namespace: "analytics",
    name: "zone_performance_metrics",
    key: &["location_id", "trip_date", "hour", "weather_condition"],
    partition: &[("year", Identity), ("month", Identity), ("borough", Identity)],
    day: "trip_date",
    columns: &[
        int("location_id", |of| of.zone.id),
        text("zone_name", |of| &of.zone.name),
        text("borough", |of| &of.zone.borough),
        text("zone_type", |of| &of.zone.kind),
        truth("is_tourist_area", |of| of.zone.is_tourist_area),
        truth("is_business_district", |of| of.zone.is_business_district),
        date("trip_date", |of| of.day),
        int("hour", |of| of.hour),
        text("weather_condition", |of| condition(of.weather.as_ref())),
        long("total_pickups", |of| of.cell.trips),
        long("total_dropoffs", |of| of.cell.dropoffs),
        maybe_number("avg_fare_per_pickup", |of| of.cell.mean_fare()),
        maybe_number("avg_tip_percentage", |of| of.cell.mean_tip_percentage()),
        maybe_number("avg_trip_distance", |of| of.cell.mean_distance()),
        number("peak_hour_factor", ZoneHour::peak_hour_factor),
        number("weather_impact_score", ZoneHour::weather_impact_score),
        computed("load_date"),
        int("year", |of| of.day.year()),
        int("month", |of| of.day.month().cast_signed()),
    ],
    chart: "select zone_name, sum(total_pickups) as pickups from analytics.zone_performance_metrics \
            group by 1 order by 2 desc limit 20",
};

/// One row for each zone of the list and hour in which a trip began or ended there.
pub fn by_zone(cells: &Cells, weather: &Hours, zones: &Zones) -> Vec<ZoneHour> {
    let mut days: HashMap<(NaiveDate, i32), (i64, i64)> = HashMap::new();
    for ((hour, zone), cell) in cells.of.iter().filter(|(_, cell)| cell.trips > 0) {
        let (pickups, hours) = days.entry((split(*hour).0, *zone)).or_default();
        *pickups += cell.trips;
        *hours += 1;
    }
    let row = |(&(hour, id), cell): (&(i64, i32), &Cell)| {
        let ((day, of_day), zone) = (split(hour), zones.get(id)?.clone());
        let usual = days.get(&(day, id)).map(|(pickups, hours)| *pickups as f64 / *hours as f64);
        Some(ZoneHour { zone, day, hour: of_day, weather: weather.get(&hour).cloned(), cell: *cell, usual })
    };
    cells.of.iter().filter_map(row).collect()
}
