//! Recorded responses of the real APIs, served over HTTP and read by the client that tasks use.

use super::api::{Api, KEY, Mood, now};
use super::new_york;
use crate::data;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use orch::{Connection, Ctx};
use orch_dags::weather::hourly::hours::{hour_of, hours_until};
use orch_dags::weather::hourly::readings::{Condition, Series, WeatherReading, rows};
use orch_dags::weather::hourly::source::{Hours, Source};
use serde_json::json;

/// Hour, condition, °C, %, hPa, km/h, km, UV index.
type ExpectedReading = (&'static str, Condition, [Option<f64>; 6]);

const WEATHER_API: [ExpectedReading; 6] = [
    ("2021-12-15T01:00", Condition::Cloudy, [Some(11.0), Some(87.0), Some(1028.0), Some(15.1), Some(10.0), Some(1.0)]),
    ("2024-01-01T15:00", Condition::Rain, [Some(7.4), Some(86.0), Some(1001.0), Some(14.0), Some(9.0), Some(2.0)]),
    ("2024-12-01T17:00", Condition::Clear, [Some(0.2), Some(43.0), Some(1019.0), Some(24.1), Some(16.0), Some(1.2)]),
    ("2022-07-22T20:00", Condition::Cloudy, [Some(34.4), None, Some(1011.0), Some(25.9), None, None]),
    ("2021-02-21T08:00", Condition::Cloudy, [Some(11.0), Some(82.0), Some(1009.0), Some(6.1), Some(10.0), Some(1.0)]),
    ("2022-12-22T17:00", Condition::Clear, [Some(-1.0), Some(80.0), Some(1028.0), Some(29.9), Some(10.0), Some(1.0)]),
];

const OPEN_WEATHER: [ExpectedReading; 4] = [
    ("2017-01-30T15:00", Condition::Rain, [Some(7.17), Some(81.0), Some(1012.0), Some(14.76), Some(10.0), None]),
    ("2019-06-12T14:00", Condition::Clear, [Some(9.4), Some(100.0), Some(1023.0), Some(5.4), Some(16.09), None]),
    ("2019-07-13T16:00", Condition::Clear, [Some(19.0), Some(63.0), Some(1013.0), Some(7.2), Some(10.0), None]),
    ("2018-09-02T06:00", Condition::Rain, [Some(23.03), Some(83.0), Some(1012.0), Some(5.4), Some(10.0), None]),
];

async fn asked(api: &Api, shape: &str, more: &str) -> Series {
    asked_until(api, shape, more, hour_of(now())).await
}

async fn asked_until(api: &Api, shape: &str, more: &str, last: DateTime<Utc>) -> Series {
    let connection = Connection::from_uri("weather_api", &api.uri(shape, more)).unwrap();
    let hours = Hours { last, count: 24, now: now() };
    Source::of(&connection).unwrap().series(&Ctx::test(), &new_york(), hours).await.unwrap()
}

fn told(reading: &WeatherReading) -> (String, Condition, [Option<f64>; 6]) {
    let numbers = [
        Some(reading.temperature_celsius),
        reading.humidity_percent,
        reading.pressure_hpa,
        reading.wind_speed_kmh,
        reading.visibility_km,
        reading.uv_index,
    ];
    (reading.hour.format("%Y-%m-%dT%H:%M").to_string(), reading.condition, numbers)
}

#[tokio::test]
async fn what_the_real_apis_answered_is_read_through_the_real_client() {
    let api = Api::start(Mood::Silent).await;
    for (shape, file, all) in [
        ("weatherapi", "weather/weatherapi_current.jsonl", &WEATHER_API[..]),
        ("openweather", "weather/openweather_current.jsonl", &OPEN_WEATHER[..]),
    ] {
        let answers = data::text(file);
        let answers: Vec<&str> = answers.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(answers.len(), all.len(), "{file}");
        for (answer, expected) in answers.iter().zip(all) {
            api.is(Mood::Says("200 OK", "", (*answer).into()));
            // The Novosibirsk response was recorded with `units=metric`; the other OpenWeather responses use the
            // default units.
            let metric = shape == "openweather" && answer.contains("Novosibirsk");
            let series = asked(&api, shape, if metric { "&units=metric" } else { "" }).await;
            let (hour, condition, numbers) = told(series.readings().next().unwrap());
            assert_eq!((hour.as_str(), condition), (expected.0, expected.1), "{answer}");
            for (found, expected) in numbers.iter().zip(expected.2) {
                // Values that the table of this test omits are not compared.
                assert!(expected.is_none() || *found == expected, "{numbers:?} of {answer}");
            }
            assert_eq!(rows(&[series], now()).unwrap().num_rows(), 1);
        }
    }
    let lines = api.asked();
    assert!(lines[0].starts_with(&format!("GET /v1/current.json?q=40.7128%2C-74.006&aqi=no&key={KEY} ")), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("GET /data/2.5/weather?lat=40.7128&lon=-74.006"), "{lines:?}");
}

#[tokio::test]
async fn lists_of_hours_are_read_up_to_the_hour_of_the_run() {
    let api = Api::start(Mood::Changed(|answer| {
        let hours = answer["hourly"]["time"].as_array().unwrap().len();
        // A gap at 1:00 of the second day.
        answer["hourly"]["temperature_2m"][hours - 23] = json!(null);
    }))
    .await;
    // The responses for that day also contain hours that are not requested: a forecast, or hours of later runs.
    let last = hour_of(now()).with_hour(12).unwrap() - TimeDelta::days(1);
    let series = asked_until(&api, "open-meteo", "", last).await;
    assert_eq!(series.hours().len(), 23);
    assert_eq!((series.hours()[0], series.hours()[22]), (last - TimeDelta::hours(23), last));
    assert!(!series.hours().contains(&(last - TimeDelta::hours(11))), "{:?}", series.hours());
}

#[tokio::test]
async fn hours_of_a_run_that_is_long_past_are_those_that_are_asked_for() {
    let api = Api::start(Mood::Good).await;
    // The archive is used for hours older than 60 days. The distances allow for midnight between our clock and the
    // client's.
    for (days, path) in [(0, "/v1/forecast"), (58, "/v1/forecast"), (61, "/v1/archive"), (700, "/v1/archive")] {
        let last = hour_of(now()) - TimeDelta::days(days);
        let series = asked_until(&api, "open-meteo", "", last).await;
        assert_eq!(series.hours(), hours_until(last, 24), "{days} days ago");
        let line = api.asked().pop().unwrap();
        assert!(line.starts_with(&format!("GET {path}?latitude=40.7128")), "{line}");
    }
}
