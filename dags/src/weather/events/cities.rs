//! The requested and watched cities, and sample responses for them in the format of weatherapi.com.

use super::{INTERVAL_MINUTES, SILENT_MINUTES};
use crate::weather::hourly::options::Location;
use crate::weather::hourly::sample::Sample;
use chrono::{DateTime, DurationRound as _, TimeDelta, Timelike as _, Utc};
use orch::prelude::*;
use serde_json::Value;

/// The cities of a run without params: name, country, latitude, longitude, time zone. To add a city, add a line. The
/// API finds a city by its name; the other values are for sample data.
const CITIES: &[(&str, &str, f64, f64, &str)] = &[
    ("London", "United Kingdom", 51.52, -0.11, "Europe/London"),
    ("New York", "United States of America", 40.71, -74.01, "America/New_York"),
    ("New Delhi", "India", 28.6, 77.2, "Asia/Kolkata"),
    ("Tokyo", "Japan", 35.69, 139.69, "Asia/Tokyo"),
];

/// Cities whose weather is requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cities {
    /// Names that the API knows, with or without a country.
    pub cities: Vec<String>,
}

/// Cities that must have new readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watched {
    pub cities: Vec<String>,
    /// Maximum age of the newest reading of a city.
    #[schemars(range(min = 1))]
    pub minutes: u32,
}

impl Default for Cities {
    fn default() -> Self {
        Cities { cities: CITIES.iter().map(|(name, ..)| (*name).into()).collect() }
    }
}

impl Default for Watched {
    fn default() -> Self {
        Watched { cities: Cities::default().cities, minutes: SILENT_MINUTES }
    }
}

/// Returns a sample response, with a new reading every 15 minutes. Unknown cities are on the equator.
pub(super) fn response_of(sample: Sample, city: &str, at: DateTime<Utc>) -> TaskResult<Value> {
    let known = CITIES.iter().copied().find(|(name, ..)| *name == city);
    let (_, country, latitude, longitude, zone) = known.unwrap_or(("", "Nowhere", 0.0, 0.0, "UTC"));
    let location = Location::of((city, latitude, longitude, zone));
    let clock = location.clock()?;
    let updated = at.duration_trunc(TimeDelta::minutes(INTERVAL_MINUTES.into())).context("the time is out of range")?;
    let reading = sample.reading(&location, clock, updated);
    let local = |at: DateTime<Utc>| at.with_timezone(&clock).format("%Y-%m-%d %H:%M").to_string();
    let texts = [("Clear", 1000), ("Cloudy", 1006), ("Light rain", 1183), ("Light snow", 1213), ("Fog", 1135)];
    let (text, code) = texts[reading.condition as usize];
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
        let of = |seed: u64, city: &str, minute: u32| {
            let at = format!("2026-11-22T20:{minute}:59Z").parse().expect("a time");
            response_of(Sample { seed }, city, at).expect("a response")["current"].clone()
        };
        let london = of(1, "London", 15);
        assert_eq!(london, of(1, "London", 29));
        assert!([of(1, "London", 30), of(1, "Atlantis", 15), of(2, "London", 15)].iter().all(|other| *other != london));
    }
}
