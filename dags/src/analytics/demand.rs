//! How many trips begin in each zone in each hour, and what one could know of it before: two tables of the same rows, one
//! for people and one for models.
//!
//! A row of an hour looks back only: at earlier hours, and for what is usual at the 30 days before its day.

use crate::common::nyc::days::{Days, micros_of};
use crate::common::nyc::forecasts::{Forecasts, Foretold};
use crate::common::nyc::grid::{Grid, hour_of, split};
use crate::common::nyc::sources::{Hours, UNKNOWN, Weather, Zone, Zones, weather_impact};
use crate::common::nyc::table::{
    Table, clock, computed, date, int, long, maybe_long, maybe_number, number, text, truth,
};
use chrono::{Datelike as _, NaiveDate, NaiveDateTime, TimeDelta};
use iceberg::spec::Transform::Identity;
use std::sync::Arc;

/// So far back a row looks.
pub const HISTORY_DAYS: i64 = 30;
const WEEK: i64 = 168;
const MONTH: i64 = HISTORY_DAYS * 24;
/// Zones are sorted into so many by how many trips begin there.
const POPULARITY: usize = 10;
/// What a zone has whose popularity is not known.
const USUAL_POPULARITY: i32 = 5;
/// So many zones are near another one.
const NEARBY: usize = 5;

/// One zone in one hour.
#[derive(Debug)]
pub struct Demand {
    zone: Arc<Zone>,
    at: NaiveDateTime,
    hour: i32,
    weather: Option<Arc<Weather>>,
    trips: i64,
    /// So many hours ago: 1, 2, 3, 24, 168.
    ago: [Option<i64>; 5],
    mean_7d: Option<f64>,
    mean_30d: Option<f64>,
    deviation_7d: Option<f64>,
    nearby: Option<i64>,
    popularity: Option<i32>,
    confidence: Option<f64>,
    /// Of the newest forecast that was made before its day.
    foretold: Option<Foretold>,
}

const AGO: [i64; 5] = [1, 2, 3, 24, WEEK];

impl Demand {
    fn condition(&self) -> &str {
        self.weather.as_ref().map_or(UNKNOWN, |weather| &weather.condition)
    }

    fn encoded(&self) -> i32 {
        encoded(self.weather.as_deref(), 0)
    }

    fn temperature(&self) -> f64 {
        self.weather.as_ref().map_or(20.0, |weather| weather.temperature)
    }

    fn is_weekend(&self) -> bool {
        is_weekend(self.at)
    }

    fn week_ago(&self) -> Option<i64> {
        self.ago[4]
    }

    fn weather_impact(&self) -> f64 {
        weather_impact(self.weather.as_deref())
    }

    /// Takes over what a forecast said of it, if one did.
    pub fn foretell(&mut self, forecasts: &Forecasts) {
        let hour = hour_of(self.at.and_utc().timestamp_micros());
        self.foretold = forecasts.get(&(self.zone.id, hour)).copied();
    }

    /// In whole trips, as the table has it. Without a forecast: as many as a week ago.
    fn predicted(&self) -> Option<i64> {
        self.foretold.map_or(self.week_ago(), |foretold| Some(foretold.demand.round() as i64))
    }

    fn confidence(&self) -> Option<f64> {
        self.foretold.map_or(self.confidence, |foretold| foretold.confidence)
    }
}

/// A number for a condition. Where there is no weather it is that of a clear sky.
pub fn encoded(weather: Option<&Weather>, other: i32) -> i32 {
    match weather.map_or("clear", |weather| weather.condition.as_str()) {
        "clear" => 1,
        "cloudy" => 2,
        "rain" => 3,
        "snow" => 4,
        "fog" => 5,
        _ => other,
    }
}

/// Sunday is 1.
pub fn day_of_week(at: NaiveDateTime) -> i32 {
    at.weekday().num_days_from_sunday().cast_signed() + 1
}

pub fn is_weekend(at: NaiveDateTime) -> bool {
    [1, 7].contains(&day_of_week(at))
}

pub static FEATURES: Table<Demand> = Table {
    namespace: "analytics",
    name: "demand_prediction_features",
    key: &["location_id", "prediction_datetime"],
    partition: &[("year", Identity), ("month", Identity)],
    day: "prediction_datetime",
    columns: &[
        int("location_id", |of| of.zone.id),
        clock("prediction_datetime", |of| of.at),
        int("hour", |of| of.hour),
        int("day_of_week", |of| day_of_week(of.at)),
        truth("is_weekend", Demand::is_weekend),
        // Nothing here knows the holidays.
        truth("is_holiday", |_| false),
        maybe_number("temperature_celsius", |of| of.weather.as_ref().map(|weather| weather.temperature)),
        text("weather_condition", Demand::condition),
        maybe_long("historical_demand_1h_ago", |of| of.ago[0]),
        maybe_long("historical_demand_24h_ago", |of| of.ago[3]),
        maybe_long("historical_demand_168h_ago", Demand::week_ago),
        maybe_number("rolling_avg_demand_7d", |of| of.mean_7d),
        maybe_number("rolling_avg_demand_30d", |of| of.mean_30d),
        text("zone_type", |of| &of.zone.kind),
        truth("is_tourist_area", |of| of.zone.is_tourist_area),
        truth("is_business_district", |of| of.zone.is_business_district),
        maybe_long("nearby_zones_demand", |of| of.nearby),
        number("weather_impact_factor", Demand::weather_impact),
        // Nothing here knows of events.
        number("event_factor", |_| 1.0),
        computed("load_date"),
        int("year", |of| of.at.year()),
        int("month", |of| of.at.month().cast_signed()),
    ],
    chart: "select prediction_datetime, sum(historical_demand_1h_ago) as \"trips an hour before\" from \
            analytics.demand_prediction_features group by 1 order by 1 desc limit 168",
};

pub static ML_FEATURES: Table<Demand> = Table {
    namespace: "ml",
    name: "demand_prediction_features",
    key: &["location_id", "prediction_hour"],
    partition: &[("feature_date", Identity)],
    day: "feature_date",
    columns: &[
        int("location_id", |of| of.zone.id),
        clock("prediction_hour", |of| of.at),
        long("target_demand", |of| of.trips),
        int("hour_of_day", |of| of.hour),
        int("day_of_week", |of| day_of_week(of.at)),
        int("day_of_month", |of| of.at.day().cast_signed()),
        int("month", |of| of.at.month().cast_signed()),
        truth("is_weekend", Demand::is_weekend),
        truth("is_holiday", |_| false),
        number("temperature_celsius", Demand::temperature),
        number("humidity_percent", |of| of.weather.as_ref().and_then(|weather| weather.humidity).unwrap_or(50.0)),
        number("wind_speed_kmh", |of| of.weather.as_ref().and_then(|weather| weather.wind).unwrap_or(5.0)),
        int("weather_condition_encoded", Demand::encoded),
        long("demand_1h_ago", |of| of.ago[0].unwrap_or_default()),
        long("demand_24h_ago", |of| of.ago[3].unwrap_or_default()),
        long("demand_168h_ago", |of| of.week_ago().unwrap_or_default()),
        number("rolling_avg_7d", |of| of.mean_7d.unwrap_or_default()),
        number("rolling_avg_30d", |of| of.mean_30d.unwrap_or_default()),
        number("rolling_std_7d", |of| of.deviation_7d.unwrap_or(1.0)),
        int("zone_type_encoded", |of| match of.zone.kind.as_str() {
            "airport" => 3,
            "neighborhood" => 1,
            _ => 2,
        }),
        int("is_tourist_area_flag", |of| of.zone.is_tourist_area.into()),
        int("is_business_district_flag", |of| of.zone.is_business_district.into()),
        int("zone_popularity_score", |of| of.popularity.unwrap_or(USUAL_POPULARITY)),
        number("temp_hour_interaction", |of| of.temperature() * f64::from(of.hour)),
        int("weather_weekend_interaction", |of| of.encoded() * i32::from(of.is_weekend())),
        int("tourist_weekend_interaction", |of| i32::from(of.zone.is_tourist_area && of.is_weekend())),
        long("demand_lag_2h", |of| of.ago[1].unwrap_or_default()),
        long("demand_lag_3h", |of| of.ago[2].unwrap_or_default()),
        long("demand_same_hour_last_week", |of| of.week_ago().unwrap_or_default()),
        maybe_long("predicted_demand", Demand::predicted),
        number("weather_impact_factor", Demand::weather_impact),
        maybe_number("confidence_score", Demand::confidence),
        date("feature_date", |of| of.at.date()),
        computed("created_at"),
    ],
    chart: "select prediction_hour, sum(target_demand) as trips from ml.demand_prediction_features \
            group by 1 order by 1 desc limit 168",
};

/// What is usual in each zone before a day.
struct ZoneBaselines {
    popularity: Vec<Option<i32>>,
    confidence: Vec<Option<f64>>,
}

impl ZoneBaselines {
    fn before(grid: &Grid, zones: usize, day: NaiveDate) -> ZoneBaselines {
        let first = hour_of(micros_of(day));
        let sums: Vec<_> = (0..zones).map(|zone| grid.over(zone, first - MONTH..first)).collect();
        let mut order: Vec<usize> = (0..zones).collect();
        // The hours that are known are the same ones in all zones.
        order.sort_by_key(|zone| (sums[*zone].trips, *zone));
        let mut popularity = vec![None; zones];
        for (rank, zone) in order.into_iter().enumerate().filter(|(_, zone)| sums[*zone].hours > 0) {
            popularity[zone] = i32::try_from(bucket(rank, zones, POPULARITY)).ok();
        }
        ZoneBaselines { popularity, confidence: (0..zones).map(|zone| confidence(grid, zone, first)).collect() }
    }
}

/// SQL's `ntile`: the first buckets are the larger ones.
fn bucket(rank: usize, of: usize, buckets: usize) -> usize {
    let (size, larger) = (of / buckets, of % buckets);
    let in_larger = larger * (size + 1);
    1 + if rank < in_larger { rank / (size + 1) } else { larger + (rank - in_larger) / size.max(1) }
}

/// How well "as many as a week ago" did in the week before: 1 where it was always right, 0 where it never was.
fn confidence(grid: &Grid, zone: usize, first: i64) -> Option<f64> {
    let pairs =
        (first - WEEK..first).filter_map(|hour| Some((grid.demand(zone, hour)?, grid.demand(zone, hour - WEEK)?)));
    let (wrong, all) = pairs.fold((0, 0), |(wrong, all), (is, was)| (wrong + (is - was).abs(), all + is + was));
    (all > 0).then(|| 1.0 - wrong as f64 / all as f64)
}

/// The nearest zones of each one, by their centres.
fn nearby(zones: &Zones) -> Vec<Vec<usize>> {
    let near = |(at, zone): (usize, &Arc<Zone>)| {
        let others = zones.all().iter().enumerate().filter(|(other, _)| *other != at);
        let mut others: Vec<(f64, usize)> =
            others.filter_map(|(other, of)| Some((distance(zone.centre?, of.centre?), other))).collect();
        others.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        others.into_iter().take(NEARBY).map(|(_, other)| other).collect()
    };
    zones.all().iter().enumerate().map(near).collect()
}

/// In kilometres, as the document reckons: a degree is 111 of them.
pub fn distance(one: (f64, f64), other: (f64, f64)) -> f64 {
    ((one.0 - other.0).powi(2) + (one.1 - other.1).powi(2)).sqrt() * 111.0
}

/// Every zone in every hour of a day. A day that no trip began on has no rows.
pub fn of_day(grid: &Grid, weather: &Hours, zones: &Zones, day: NaiveDate) -> Vec<Demand> {
    let first = hour_of(micros_of(day));
    if !grid.is_known(first) {
        return Vec::new();
    }
    let usual = ZoneBaselines::before(grid, zones.all().len(), day);
    let near = nearby(zones);
    let row = |at: usize, hour: i64| {
        let week = grid.over(at, hour - WEEK..hour);
        let nearby: Option<Vec<i64>> = near[at].iter().map(|other| grid.demand(*other, hour - 1)).collect();
        let (date, of_day) = split(hour);
        Demand {
            zone: zones.all()[at].clone(),
            at: date.and_time(chrono::NaiveTime::MIN) + TimeDelta::hours(of_day.into()),
            hour: of_day,
            weather: weather.get(&hour).cloned(),
            trips: grid.demand(at, hour).unwrap_or_default(),
            ago: AGO.map(|ago| grid.demand(at, hour - ago)),
            mean_7d: week.mean(),
            mean_30d: grid.over(at, hour - MONTH..hour).mean(),
            deviation_7d: week.deviation(),
            nearby: nearby.filter(|all| !all.is_empty()).map(|all| all.into_iter().sum()),
            popularity: usual.popularity[at],
            confidence: usual.confidence[at],
            foretold: None,
        }
    };
    (0..zones.all().len())
        .flat_map(|at| (first..first + 24).map(move |hour| (at, hour)))
        .map(|(at, hour)| row(at, hour))
        .collect()
}

/// The days whose trips the rows of some days are made of.
pub fn history(days: Days) -> Days {
    days.and_before(HISTORY_DAYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::grid::HOUR;

    #[test]
    fn buckets_are_those_of_sql() {
        let buckets = |of: usize| (0..of).map(|rank| bucket(rank, of, 4)).collect::<Vec<_>>();
        assert_eq!(buckets(10), [1, 1, 1, 2, 2, 2, 3, 3, 4, 4]);
        assert_eq!(buckets(3), [1, 2, 3]);
        assert_eq!(buckets(8), [1, 1, 2, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn a_forecast_that_was_always_right_is_trusted() {
        let days = Days { first: "2019-03-01".parse().expect("a day"), last: "2019-03-15".parse().expect("a day") };
        let mut grid = Grid::new(days, 2);
        let start = days.micros().0;
        for day in 0..15 {
            grid.add(Some(0), start + day * 24 * HOUR);
            grid.add(Some(1), start + (day * 24 + i64::from(day > 6)) * HOUR);
        }
        let last = hour_of(micros_of(days.last));
        assert_eq!([0, 1].map(|zone| confidence(&grid, zone, last)), [Some(1.0), Some(0.0)]);
        assert_eq!(confidence(&grid, 0, last - 14 * 24), None);
    }
}
