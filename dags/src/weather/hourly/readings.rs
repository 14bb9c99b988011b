//! The weather of a place in an hour, whoever told it, and how many of them become rows.

use super::hours::Clock;
use super::options::Location;
use crate::common::nyc::schema::HOURLY;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use orch::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// As the table calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Clear,
    Cloudy,
    Rain,
    Snow,
    Fog,
}

impl Condition {
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::Clear => "clear",
            Condition::Cloudy => "cloudy",
            Condition::Rain => "rain",
            Condition::Snow => "snow",
            Condition::Fog => "fog",
        }
    }
}

/// In the units of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct WeatherReading {
    pub hour: DateTime<Utc>,
    pub temperature_celsius: f64,
    pub condition: Condition,
    pub humidity_percent: Option<f64>,
    pub pressure_hpa: Option<f64>,
    pub wind_speed_kmh: Option<f64>,
    pub visibility_km: Option<f64>,
    pub uv_index: Option<f64>,
}

/// The readings of a place. Of several in one hour the last one counts.
#[derive(Debug, Clone)]
pub struct Series {
    location: Location,
    zone: Tz,
    readings: BTreeMap<DateTime<Utc>, WeatherReading>,
}

impl Series {
    /// # Errors
    /// Nobody knows the zone of the place.
    pub fn of(location: Location, readings: impl IntoIterator<Item = WeatherReading>) -> TaskResult<Series> {
        let zone = location.clock()?;
        Ok(Series { location, zone, readings: readings.into_iter().map(|reading| (reading.hour, reading)).collect() })
    }

    pub fn name(&self) -> &str {
        &self.location.name
    }

    /// By hour.
    pub fn readings(&self) -> impl Iterator<Item = &WeatherReading> {
        self.readings.values()
    }

    pub fn hours(&self) -> Vec<DateTime<Utc>> {
        self.readings.keys().copied().collect()
    }
}

/// Rows of `weather.hourly_weather`, by place and hour.
///
/// # Errors
/// Never for series of ours: the columns are those of the schema.
pub fn rows(all: &[Series], loaded_at: DateTime<Utc>) -> TaskResult<RecordBatch> {
    let lines: Vec<(&Location, Clock, &WeatherReading)> = all
        .iter()
        .flat_map(|series| {
            let clock = |hour| Clock::at(hour, series.zone);
            series.readings.values().map(move |reading| (&series.location, clock(reading.hour), reading))
        })
        .collect();
    let number = |of: &dyn Fn(&WeatherReading) -> Option<f64>| -> ArrayRef {
        Arc::new(lines.iter().map(|(_, _, reading)| of(reading)).collect::<Float64Array>())
    };
    let int = |of: fn(&Clock) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(lines.iter().map(|(_, clock, _)| of(clock))))
    };
    let time = |of: &dyn Fn(&WeatherReading) -> DateTime<Utc>| -> ArrayRef {
        let micros = lines.iter().map(|(_, _, reading)| of(reading).timestamp_micros());
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
    };
    let text = |of: &dyn Fn(&Location, &WeatherReading) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(lines.iter().map(|(location, _, reading)| of(location, reading))))
    };
    let place = |of: fn(&Location) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(lines.iter().map(|(location, _, _)| of(location))))
    };
    let columns: Vec<ArrayRef> = vec![
        time(&|reading| reading.hour),
        text(&|location, _| location.name.clone()),
        place(|location| location.latitude),
        place(|location| location.longitude),
        number(&|reading| Some(reading.temperature_celsius)),
        number(&|reading| Some(tenths(reading.temperature_celsius * 1.8 + 32.0))),
        number(&|reading| reading.humidity_percent),
        number(&|reading| reading.pressure_hpa),
        number(&|reading| reading.wind_speed_kmh),
        text(&|_, reading| reading.condition.as_str().into()),
        number(&|reading| reading.visibility_km),
        number(&|reading| reading.uv_index),
        int(|clock| clock.hour),
        int(|clock| clock.day_of_week),
        Arc::new(lines.iter().map(|(_, clock, _)| Some(clock.is_weekend())).collect::<BooleanArray>()),
        time(&|_| loaded_at),
        int(|clock| clock.year),
        int(|clock| clock.month),
        int(|clock| clock.day),
    ];
    Ok(RecordBatch::try_new(HOURLY.arrow(), columns)?)
}

/// No thermometer tells more.
pub fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
