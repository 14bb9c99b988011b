//! The weather of a location in an hour, and the rows of `weather.hourly_weather`.

use super::hours::Clock;
use super::options::Location;
use crate::common::nyc::schema::HOURLY;
use crate::common::rows::batch_of;
use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use orch::prelude::*;
use std::collections::BTreeMap;

/// Weather conditions. Sample responses of APIs list their codes in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Clear,
    Cloudy,
    Rain,
    Snow,
    Fog,
}

/// A reading, serialized with the column names and units of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeatherReading {
    #[serde(rename = "timestamp")]
    pub hour: DateTime<Utc>,
    pub temperature_celsius: f64,
    #[serde(rename = "weather_condition")]
    pub condition: Condition,
    pub humidity_percent: Option<f64>,
    pub pressure_hpa: Option<f64>,
    pub wind_speed_kmh: Option<f64>,
    pub visibility_km: Option<f64>,
    pub uv_index: Option<f64>,
}

/// Readings of a location by hour. The last of several readings of an hour wins.
#[derive(Debug, Clone)]
pub struct Series {
    location: Location,
    zone: Tz,
    readings: BTreeMap<DateTime<Utc>, WeatherReading>,
}

impl Series {
    pub fn of(location: Location, readings: impl IntoIterator<Item = WeatherReading>) -> TaskResult<Series> {
        let zone = location.clock()?;
        Ok(Series { location, zone, readings: readings.into_iter().map(|reading| (reading.hour, reading)).collect() })
    }

    pub fn readings(&self) -> impl Iterator<Item = &WeatherReading> {
        self.readings.values()
    }

    pub fn hours(&self) -> Vec<DateTime<Utc>> {
        self.readings.keys().copied().collect()
    }
}

/// Builds the rows of `weather.hourly_weather`, ordered by location and hour.
pub fn rows(all: &[Series], loaded_at: DateTime<Utc>) -> TaskResult<RecordBatch> {
    #[derive(Serialize)]
    struct Row<'a> {
        location: &'a str,
        latitude: f64,
        longitude: f64,
        #[serde(flatten)]
        reading: &'a WeatherReading,
        temperature_fahrenheit: f64,
        #[serde(flatten)]
        clock: Clock,
        load_date: DateTime<Utc>,
    }
    let mut rows = Vec::new();
    for Series { location, zone, readings } in all {
        rows.extend(readings.values().map(|reading| Row {
            location: &location.name,
            latitude: location.latitude,
            longitude: location.longitude,
            reading,
            temperature_fahrenheit: tenths(reading.temperature_celsius * 1.8 + 32.0),
            clock: Clock::at(reading.hour, *zone),
            load_date: loaded_at,
        }));
    }
    batch_of(&HOURLY.schema(), &rows)
}

/// Rounds to tenths, the precision of thermometers.
pub fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
