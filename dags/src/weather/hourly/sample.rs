//! Weather that never was, for those who have no key at hand (`sample://weather`). Each place and hour has its own, always
//! the same: runs that overlap tell one thing.

use super::hours::Clock;
use super::options::Location;
use super::readings::{Condition, WeatherReading, tenths};
use crate::common::dice::Dice;
use chrono::{DateTime, Datelike as _, Utc};
use chrono_tz::Tz;
use std::f64::consts::TAU;

/// How often it is so, of a hundred hours.
const CONDITIONS: [(Condition, u32); 5] = [
    (Condition::Clear, 40),
    (Condition::Cloudy, 30),
    (Condition::Rain, 15),
    (Condition::Snow, 10),
    (Condition::Fog, 5),
];

/// The coldest day of the year, and the warmest hour of the day.
const COLDEST_DAY: f64 = 20.0;
const WARMEST_HOUR: f64 = 15.0;
/// It does not snow when it is warmer.
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
        // South of the equator the year is turned round.
        let season = if location.latitude < 0.0 { 1.0 } else { -1.0 };
        let calm = 12.0 + season * 12.0 * (TAU * year).cos() + 4.0 * (TAU * day).cos();
        let base = calm + f64::from(dice.between(0, 40)) / 10.0 - 2.0;
        let told = dice.weighted(&CONDITIONS, |(_, weight)| *weight).0;
        let condition = if told == Condition::Snow && base > SNOW_BELOW { Condition::Rain } else { told };
        let humid = f64::from(dice.between(30, 90));
        let (temperature, humidity) = match condition {
            Condition::Snow => (base.min(0.0), humid.max(60.0)),
            Condition::Rain => (base * 0.9, humid.max(70.0)),
            Condition::Fog => (base, humid.max(90.0)),
            Condition::Clear | Condition::Cloudy => (base, humid),
        };
        let sees = match condition {
            Condition::Fog => dice.between(1, 10),
            Condition::Snow | Condition::Rain => dice.between(20, 80),
            Condition::Clear | Condition::Cloudy => dice.between(100, 160),
        };
        let sun = (TAU * (f64::from(clock.hour) - 13.0) / 24.0).cos().max(0.0);
        let shade = if condition == Condition::Clear { 8.0 } else { 3.0 };
        WeatherReading {
            hour,
            temperature_celsius: tenths(temperature),
            condition,
            humidity_percent: Some(humidity),
            pressure_hpa: Some(f64::from(dice.between(9_950, 10_350)) / 10.0),
            wind_speed_kmh: Some(f64::from(dice.between(0, 400)) / 10.0),
            visibility_km: Some(f64::from(sees) / 10.0),
            uv_index: Some(tenths(sun * shade)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hours::hours_until;
    use super::super::options::Weather;
    use super::*;

    #[test]
    fn a_place_and_an_hour_have_one_weather_and_a_year_has_all_of_them() {
        let location = Weather::default().locations.remove(0);
        let last = "2026-01-01T00:00:00Z".parse().expect("a time");
        let of = |seed| {
            let sample = Sample { seed };
            hours_until(last, 8_760)
                .into_iter()
                .map(|hour| sample.reading(&location, chrono_tz::America::New_York, hour))
                .collect::<Vec<_>>()
        };
        let year = of(1);
        assert_eq!(year, of(1));
        assert_ne!(year, of(2));
        for (condition, _) in CONDITIONS {
            let hours = year.iter().filter(|reading| reading.condition == condition).count();
            assert!(hours > 100, "{condition:?}: {hours}");
        }
        let snow = year.iter().filter(|reading| reading.condition == Condition::Snow);
        assert!(snow.clone().all(|reading| reading.temperature_celsius <= 0.0));
        let mean = |part: &[WeatherReading]| {
            part.iter().map(|reading| reading.temperature_celsius).sum::<f64>() / part.len() as f64
        };
        assert!(mean(&year[4_000..4_700]) > mean(&year[..700]) + 15.0, "summers are warmer");
    }
}
