//! The requested cities, and sample responses for them in the format of openweathermap.org.

use crate::weather::hourly::options::Location;
use crate::weather::hourly::readings::Condition;
use crate::weather::hourly::sample::Sample;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use orch::prelude::*;
use serde_json::Value;

/// The cities of a run without params: name, latitude, longitude, time zone. To add a city, add a line. The API finds a
/// city by its name; the other values are for sample data.
const CITIES: &[(&str, f64, f64, &str)] = &[
    ("London", 51.5085, -0.1257, "Europe/London"),
    ("New Delhi", 28.6128, 77.2311, "Asia/Kolkata"),
    ("New York", 40.7143, -74.006, "America/New_York"),
];

/// Cities whose weather is requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cities {
    pub cities: Vec<String>,
}

impl Default for Cities {
    fn default() -> Self {
        Cities { cities: CITIES.iter().map(|(name, ..)| (*name).into()).collect() }
    }
}

const KELVIN: f64 = 273.15;

/// Returns a sample response, interpolated between hours. Unknown cities are on the equator.
pub(super) fn response_of(sample: Sample, city: &str, at: DateTime<Utc>) -> TaskResult<Value> {
    let known = CITIES.iter().copied().find(|(name, ..)| *name == city);
    let (_, latitude, longitude, zone) = known.unwrap_or(("", 0.0, 0.0, "UTC"));
    let location = Location::of((city, latitude, longitude, zone));
    let clock = location.clock()?;
    let hour = at.duration_trunc(TimeDelta::hours(1)).context("the time is out of range")?;
    let [now, next] = [0, 1].map(|hours| sample.reading(&location, clock, hour + TimeDelta::hours(hours)));
    let part = (at - hour).as_seconds_f64() / 3_600.0;
    let between = |from: f64, to: f64| ((from + (to - from) * part) * 100.0).round() / 100.0;
    let codes = [(800, "Clear"), (803, "Clouds"), (500, "Rain"), (600, "Snow"), (741, "Fog")];
    let (id, main) = codes[now.condition as usize];
    let temperature = between(now.temperature_celsius + KELVIN, next.temperature_celsius + KELVIN);
    let humidity = between(now.humidity_percent.unwrap_or(50.0), next.humidity_percent.unwrap_or(50.0)).round();
    Ok(json!({
        "coord": { "lon": longitude, "lat": latitude },
        "weather": [{ "id": id, "main": main }],
        "main": { "temp": temperature, "pressure": now.pressure_hpa, "humidity": humidity },
        "wind": { "speed": now.wind_speed_kmh.map(|speed| (speed / 3.6 * 100.0).round() / 100.0) },
        "clouds": { "all": if now.condition == Condition::Clear { 0 } else { 75 } },
        "dt": at.timestamp(), "name": city, "cod": 200,
    }))
}
