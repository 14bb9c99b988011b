//! Responses in the form of openweathermap.org for when no key is at hand: generated weather, interpolated between hours.

use super::params::CITIES;
use crate::weather::hourly::options::Location;
use crate::weather::hourly::readings::Condition;
use crate::weather::hourly::sample::Sample;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use orch::prelude::*;
use serde_json::Value;

const KELVIN: f64 = 273.15;

/// Returns the response of the API at this time. Unknown cities are on the equator.
pub(super) fn response_of(sample: Sample, city: &str, at: DateTime<Utc>) -> TaskResult<Value> {
    let known = CITIES.iter().copied().find(|(name, ..)| *name == city);
    let (_, latitude, longitude, zone) = known.unwrap_or(("", 0.0, 0.0, "UTC"));
    let location = Location::of((city, latitude, longitude, zone));
    let clock = location.clock()?;
    let hour = at.duration_trunc(TimeDelta::hours(1)).context("the time is out of range")?;
    let [now, next] = [0, 1].map(|hours| sample.reading(&location, clock, hour + TimeDelta::hours(hours)));
    let part = (at - hour).as_seconds_f64() / 3_600.0;
    let between = |from: f64, to: f64| ((from + (to - from) * part) * 100.0).round() / 100.0;
    let (id, main) = match now.condition {
        Condition::Clear => (800, "Clear"),
        Condition::Cloudy => (803, "Clouds"),
        Condition::Rain => (500, "Rain"),
        Condition::Snow => (600, "Snow"),
        Condition::Fog => (741, "Fog"),
    };
    let humidity = between(now.humidity_percent.unwrap_or(50.0), next.humidity_percent.unwrap_or(50.0)).round();
    Ok(json!({
        "coord": { "lon": longitude, "lat": latitude },
        "weather": [{ "id": id, "main": main }],
        "main": {
            "temp": between(now.temperature_celsius + KELVIN, next.temperature_celsius + KELVIN),
            "pressure": now.pressure_hpa,
            "humidity": humidity,
        },
        "wind": { "speed": now.wind_speed_kmh.map(|speed| (speed / 3.6 * 100.0).round() / 100.0) },
        "clouds": { "all": if now.condition == Condition::Clear { 0 } else { 75 } },
        "dt": at.timestamp(),
        "name": city,
        "cod": 200,
    }))
}
