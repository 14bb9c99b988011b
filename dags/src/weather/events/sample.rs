//! Responses in the form of weatherapi.com for when no key is at hand: generated weather, new every 15 minutes.

use super::INTERVAL_MINUTES;
use super::params::CITIES;
use crate::weather::hourly::options::Location;
use crate::weather::hourly::readings::Condition;
use crate::weather::hourly::sample::Sample;
use chrono::{DateTime, DurationRound as _, TimeDelta, Timelike as _, Utc};
use orch::prelude::*;
use serde_json::Value;

/// Returns the response of the API at this time. Unknown cities are on the equator.
pub(super) fn response_of(sample: Sample, city: &str, at: DateTime<Utc>) -> TaskResult<Value> {
    let known = CITIES.iter().copied().find(|(name, ..)| *name == city);
    let (_, country, latitude, longitude, zone) = known.unwrap_or(("", "Nowhere", 0.0, 0.0, "UTC"));
    let location = Location::of((city, latitude, longitude, zone));
    let clock = location.clock()?;
    let updated = at.duration_trunc(TimeDelta::minutes(INTERVAL_MINUTES.into())).context("the time is out of range")?;
    let reading = sample.reading(&location, clock, updated);
    let local = |at: DateTime<Utc>| at.with_timezone(&clock).format("%Y-%m-%d %H:%M").to_string();
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
            "localtime_epoch": at.timestamp(), "localtime": local(at),
        },
        "current": {
            "last_updated_epoch": updated.timestamp(), "last_updated": local(updated),
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
    fn a_city_has_one_reading_every_15_minutes() {
        let of = |city: &str, minute: u32| {
            let at = format!("2026-11-22T20:{minute}:59Z").parse().expect("a time");
            response_of(Sample::default(), city, at).expect("a response")["current"].clone()
        };
        assert_eq!(of("London", 15), of("London", 29));
        assert!(of("London", 15) != of("London", 30) && of("London", 15) != of("Atlantis", 15));
    }
}
