//! Answers in the form of openweathermap.org, for when no key is at hand: the weather of `sample://weather`, with the degrees that a
//! thermometer would show a minute later.

use crate::weather::hourly::options::Location;
use crate::weather::hourly::readings::Condition;
use crate::weather::hourly::sample::Sample;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use orch::prelude::*;
use serde_json::Value;

/// Name, latitude, longitude, zone. Others are on the equator.
const CITIES: [(&str, f64, f64, &str); 3] = [
    ("London", 51.5085, -0.1257, "Europe/London"),
    ("New Delhi", 28.6128, 77.2311, "Asia/Kolkata"),
    ("New York", 40.7143, -74.006, "America/New_York"),
];
const KELVIN: f64 = 273.15;

/// What the API would answer at this time: between the readings of two hours.
pub(super) fn answer_of(sample: Sample, city: &str, at: DateTime<Utc>) -> TaskResult<Value> {
    let (_, latitude, longitude, zone) =
        CITIES.into_iter().find(|(name, ..)| *name == city).unwrap_or(("", 0.0, 0.0, "UTC"));
    let location = Location { name: city.into(), latitude, longitude, zone: zone.into() };
    let clock = location.clock()?;
    let hour = at.duration_trunc(TimeDelta::hours(1)).context("no such time")?;
    let (now, next) =
        (sample.reading(&location, clock, hour), sample.reading(&location, clock, hour + TimeDelta::hours(1)));
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

#[cfg(test)]
mod tests {
    use super::super::answer::CityReading;
    use super::*;

    #[test]
    fn an_answer_reads_like_one_of_the_api() {
        let at = "2026-11-22T20:15:00Z".parse().expect("a time");
        let answer = answer_of(Sample::default(), "London", at).expect("an answer");
        let reading = CityReading::of(answer.to_string().as_bytes()).expect("a reading");
        assert_eq!((reading.city.as_str(), reading.measured_at), ("London", at));
        assert!((220.0..330.0).contains(&reading.answer.main.temp.expect("degrees")), "{answer}");
        assert_ne!(answer["main"], answer_of(Sample::default(), "Atlantis", at).expect("an answer")["main"]);
    }
}
