//! Answers in the form of weatherapi.com, for when no key is at hand: the weather of `sample://weather`, new each quarter of an hour.

use super::INTERVAL_MINUTES;
use crate::weather::hourly::options::Location;
use crate::weather::hourly::readings::Condition;
use crate::weather::hourly::sample::Sample;
use chrono::{DateTime, DurationRound as _, TimeDelta, Timelike as _, Utc};
use orch::prelude::*;
use serde_json::Value;

/// Name, country, latitude, longitude, zone. Others are on the equator.
const CITIES: [(&str, &str, f64, f64, &str); 4] = [
    ("London", "United Kingdom", 51.52, -0.11, "Europe/London"),
    ("New York", "United States of America", 40.71, -74.01, "America/New_York"),
    ("New Delhi", "India", 28.6, 77.2, "Asia/Kolkata"),
    ("Tokyo", "Japan", 35.69, 139.69, "Asia/Tokyo"),
];

/// What the API would answer at this time.
pub(super) fn answer_of(sample: Sample, city: &str, at: DateTime<Utc>) -> TaskResult<Value> {
    let (_, country, latitude, longitude, zone) =
        CITIES.into_iter().find(|(name, ..)| *name == city).unwrap_or(("", "Nowhere", 0.0, 0.0, "UTC"));
    let location = Location { name: city.into(), latitude, longitude, zone: zone.into() };
    let clock = location.clock()?;
    let updated = at.duration_trunc(TimeDelta::minutes(INTERVAL_MINUTES.into())).context("no such time")?;
    let reading = sample.reading(&location, clock, updated);
    let there = |at: DateTime<Utc>| at.with_timezone(&clock).format("%Y-%m-%d %H:%M").to_string();
    let (text, code) = match reading.condition {
        Condition::Clear => ("Clear", 1000),
        Condition::Cloudy => ("Cloudy", 1006),
        Condition::Rain => ("Light rain", 1183),
        Condition::Snow => ("Light snow", 1213),
        Condition::Fog => ("Fog", 1135),
    };
    let is_day = (6..20).contains(&updated.with_timezone(&clock).hour());
    let fahrenheit = (reading.temperature_celsius * 18.0).round() / 10.0 + 32.0;
    Ok(json!({
        "location": {
            "name": city, "region": "", "country": country, "lat": latitude, "lon": longitude, "tz_id": zone,
            "localtime_epoch": at.timestamp(), "localtime": there(at),
        },
        "current": {
            "last_updated_epoch": updated.timestamp(), "last_updated": there(updated),
            "temp_c": reading.temperature_celsius, "temp_f": fahrenheit, "feelslike_c": reading.temperature_celsius,
            "is_day": i32::from(is_day), "condition": { "text": text, "code": code },
            "wind_kph": reading.wind_speed_kmh, "pressure_mb": reading.pressure_hpa,
            "humidity": reading.humidity_percent, "vis_km": reading.visibility_km, "uv": reading.uv_index,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_has_one_reading_for_a_quarter_of_an_hour() {
        let of = |city: &str, at: &str| {
            answer_of(Sample::default(), city, at.parse().expect("a time")).expect("an answer")["current"].clone()
        };
        let first = of("London", "2026-11-22T20:15:00Z");
        assert_eq!(first, of("London", "2026-11-22T20:29:59Z"));
        assert_ne!(first, of("London", "2026-11-22T20:30:00Z"));
        assert_ne!(first, of("Atlantis", "2026-11-22T20:15:00Z"));
        assert_eq!((first["last_updated_epoch"].as_i64(), first["is_day"].as_i64()), (Some(1_795_378_500), Some(0)));
    }
}
