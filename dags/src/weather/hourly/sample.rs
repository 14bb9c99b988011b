//! Generated weather for users without an API key (`sample://weather`). A location and an hour always have the same
//! weather, so overlapping runs produce the same rows.

use super::hours::Clock;
use super::options::Location;
use super::readings::Condition::{self, Clear, Cloudy, Fog, Rain, Snow};
use super::readings::{WeatherReading, tenths};
use crate::common::dice::Dice;
use chrono::{DateTime, Datelike as _, Utc};
use chrono_tz::Tz;
use std::f64::consts::TAU;

/// Each condition with its share of hours in percent.
const CONDITIONS: [(Condition, u32); 5] = [(Clear, 40), (Cloudy, 30), (Rain, 15), (Snow, 10), (Fog, 5)];

/// Coldest day of the year. `WARMEST_HOUR` is an hour of the day.
const COLDEST_DAY: f64 = 20.0;
const WARMEST_HOUR: f64 = 15.0;
/// Maximum temperature for snow, in degrees Celsius.
const SNOW_BELOW: f64 = 4.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub seed: u64,
}

impl Default for Sample {
    fn default() -> Self {
        Sample { seed: 1 }
    }
}

impl Sample {
    pub fn reading(self, location: &Location, zone: Tz, hour: DateTime<Utc>) -> WeatherReading {
        let mut dice = Dice::new(self.seed, &format!("{}/{}", location.name, hour.timestamp()));
        let clock = Clock::at(hour, zone);
        let year = (f64::from(hour.ordinal()) - COLDEST_DAY) / 365.25;
        let day = (f64::from(clock.hour) - WARMEST_HOUR) / 24.0;
        // Seasons are reversed south of the equator.
        let season = if location.latitude < 0.0 { 1.0 } else { -1.0 };
        let calm = 12.0 + season * 12.0 * (TAU * year).cos() + 4.0 * (TAU * day).cos();
        let base = calm + f64::from(dice.between(0, 40)) / 10.0 - 2.0;
        let drawn = dice.weighted(&CONDITIONS, |(_, weight)| *weight).0;
        let condition = if drawn == Snow && base > SNOW_BELOW { Rain } else { drawn };
        let humid = f64::from(dice.between(30, 90));
        let (temperature, humidity, (nearest, farthest)) = match condition {
            Snow => (base.min(0.0), humid.max(60.0), (20, 80)),
            Rain => (base * 0.9, humid.max(70.0), (20, 80)),
            Fog => (base, humid.max(90.0), (1, 10)),
            Clear | Cloudy => (base, humid, (100, 160)),
        };
        let visibility = dice.between(nearest, farthest);
        let sun = (TAU * (f64::from(clock.hour) - 13.0) / 24.0).cos().max(0.0);
        let shade = if condition == Clear { 8.0 } else { 3.0 };
        WeatherReading {
            hour,
            temperature_celsius: tenths(temperature),
            condition,
            humidity_percent: Some(humidity),
            pressure_hpa: Some(f64::from(dice.between(9_950, 10_350)) / 10.0),
            wind_speed_kmh: Some(f64::from(dice.between(0, 400)) / 10.0),
            visibility_km: Some(f64::from(visibility) / 10.0),
            uv_index: Some(tenths(sun * shade)),
        }
    }
}
