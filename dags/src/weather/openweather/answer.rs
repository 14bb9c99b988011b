//! What an answer says, as far as the tables have it.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;

/// An answer with what the producer adds to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct OpenWeatherResponse {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) coord: Coord,
    #[serde(default)]
    pub(super) main: Main,
    #[serde(default)]
    pub(super) wind: Wind,
    #[serde(default)]
    pub(super) clouds: Clouds,
    /// When it was measured, in seconds since 1970.
    pub(super) dt: Option<i64>,
    /// When it was asked for: a time of UTC without a zone.
    #[serde(rename = "_ingest_ts")]
    ingested: Option<NaiveDateTime>,
    /// It is no weather: the API refused.
    #[serde(rename = "_error", default)]
    pub(super) is_error: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Coord {
    pub(super) lon: Option<f64>,
    pub(super) lat: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Main {
    pub(super) temp: Option<f64>,
    pub(super) humidity: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Wind {
    pub(super) speed: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct Clouds {
    pub(super) all: Option<f64>,
}

/// A reading of a city, with both of its times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CityReading {
    pub(super) city: String,
    pub(super) measured_at: DateTime<Utc>,
    pub(super) ingested_at: DateTime<Utc>,
    pub(super) answer: OpenWeatherResponse,
}

impl CityReading {
    /// `None`: it is no reading of a city.
    pub(super) fn of(value: &[u8]) -> Option<CityReading> {
        let mut answer: OpenWeatherResponse = serde_json::from_slice(value).ok()?;
        let city = answer.name.take().filter(|city| !answer.is_error && !city.is_empty() && !city.contains('\0'))?;
        let measured_at = DateTime::from_timestamp(answer.dt?, 0)?;
        let ingested_at = answer.ingested.map_or(measured_at, |at| at.and_utc());
        Some(CityReading { city, measured_at, ingested_at, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_a_city_and_a_time() {
        let told = br#"{"name":"London","coord":{"lon":-0.1},"main":{"temp":285.5,"humidity":90},"dt":1756684794,"_ingest_ts":"2025-09-01T00:00:07.000000","cod":200}"#;
        let reading = CityReading::of(told).unwrap();
        assert_eq!(
            (reading.city.as_str(), reading.answer.main.temp, reading.answer.coord.lat),
            ("London", Some(285.5), None)
        );
        assert_eq!(reading.ingested_at.to_rfc3339(), "2025-09-01T00:00:07+00:00");
        assert_eq!(reading.measured_at.timestamp(), 1_756_684_794);
        let undated = CityReading::of(br#"{"name":"London","dt":1756684794}"#).unwrap();
        assert_eq!(undated.ingested_at, undated.measured_at);
        for no_reading in [
            r#"{"_error":true,"status_code":401,"city":"London"}"#,
            r#"{"name":null,"dt":1756684794}"#,
            r#"{"name":"London"}"#,
            r#"{"name":"London","dt":99999999999999999}"#,
            "[]",
            "",
        ] {
            assert_eq!(CityReading::of(no_reading.as_bytes()), None, "{no_reading}");
        }
    }
}
