//! The weather APIs as data: how to request each one, and where its response has each value.

use super::hours::hour_of;
use super::readings::{Condition, WeatherReading};
use chrono::DateTime;
use serde_json::Value;
use std::ops::RangeInclusive;

/// Names and values of query parameters.
type Params = &'static [(&'static str, &'static str)];

#[derive(Debug)]
pub struct Shape {
    /// Type of the connection.
    pub name: &'static str,
    pub host: &'static str,
    pub path: &'static str,
    pub params: Params,
    /// Query parameter for the API key.
    pub key: &'static str,
    /// Two query parameters for latitude and longitude, or one for both.
    pub place: &'static [&'static str],
    /// Parameters next to the name of a city (`q=NAME`). `None` if the API accepts only coordinates.
    pub by_name: Option<Params>,
    /// Path for hours that are long past, and the part of `params` for which the archive has no data. The archive's
    /// host has `archive-api.` instead of `api.`.
    pub archive: Option<(&'static str, &'static str)>,
    /// True if a response has arrays with one element per hour, false if it has only the current weather.
    pub is_hourly: bool,
    /// JSON pointer to the time in seconds since the Unix epoch.
    time: &'static str,
    temperature: (&'static str, Unit),
    humidity: (&'static str, Unit),
    pressure: (&'static str, Unit),
    wind: (&'static str, Unit),
    visibility: (&'static str, Unit),
    uv: Option<(&'static str, Unit)>,
    /// JSON pointer to the code of the condition.
    condition: &'static str,
    /// Codes of each element of `CONDITIONS`. The first matching range wins.
    codes: [&'static [RangeInclusive<i64>]; 5],
}

const CONDITIONS: [Condition; 5] = [Clear, Cloudy, Fog, Snow, Rain];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Same,
    /// Kelvin, or Celsius if metric units were requested.
    Kelvin,
    MetresPerSecond,
    Metres,
}

use Condition::{Clear, Cloudy, Fog, Rain, Snow};
use Unit::{Kelvin, Metres, MetresPerSecond, Same};

const HOURLY: &str =
    "temperature_2m,relative_humidity_2m,surface_pressure,wind_speed_10m,visibility,uv_index,weather_code";

pub const SHAPES: [Shape; 3] = [
    Shape {
        name: "openweather",
        host: "api.openweathermap.org",
        path: "data/2.5/weather",
        params: &[],
        key: "appid",
        place: &["lat", "lon"],
        by_name: Some(&[]),
        archive: None,
        is_hourly: false,
        time: "/dt",
        temperature: ("/main/temp", Kelvin),
        humidity: ("/main/humidity", Same),
        pressure: ("/main/pressure", Same),
        wind: ("/wind/speed", MetresPerSecond),
        visibility: ("/visibility", Metres),
        uv: None,
        condition: "/weather/0/id",
        codes: [&[800..=800], &[801..=899], &[700..=799], &[600..=699], &[200..=599]],
    },
    Shape {
        name: "weatherapi",
        host: "api.weatherapi.com",
        path: "v1/current.json",
        params: &[("aqi", "no")],
        key: "key",
        place: &["q"],
        by_name: Some(&[("aqi", "yes")]),
        archive: None,
        is_hourly: false,
        time: "/current/last_updated_epoch",
        temperature: ("/current/temp_c", Same),
        humidity: ("/current/humidity", Same),
        pressure: ("/current/pressure_mb", Same),
        wind: ("/current/wind_kph", Same),
        visibility: ("/current/vis_km", Same),
        uv: Some(("/current/uv", Same)),
        condition: "/current/condition/code",
        codes: [
            &[1000..=1000],
            &[1003..=1009],
            &[1030..=1030, 1135..=1147],
            &[1066..=1069, 1114..=1117, 1204..=1237, 1249..=1264, 1279..=1282],
            &[1063..=1276],
        ],
    },
    Shape {
        name: "open_meteo",
        host: "api.open-meteo.com",
        path: "v1/forecast",
        params: &[("hourly", HOURLY), ("timeformat", "unixtime"), ("timezone", "GMT")],
        key: "apikey",
        place: &["latitude", "longitude"],
        by_name: None,
        archive: Some(("v1/archive", "visibility,uv_index,")),
        is_hourly: true,
        time: "/hourly/time",
        temperature: ("/hourly/temperature_2m", Same),
        humidity: ("/hourly/relative_humidity_2m", Same),
        pressure: ("/hourly/surface_pressure", Same),
        wind: ("/hourly/wind_speed_10m", Same),
        visibility: ("/hourly/visibility", Metres),
        uv: Some(("/hourly/uv_index", Same)),
        condition: "/hourly/weather_code",
        codes: [&[0..=1], &[2..=3], &[45..=48], &[71..=77, 85..=86], &[51..=67, 80..=82, 95..=99]],
    },
];

impl Shape {
    pub fn of(name: &str) -> Option<&'static Shape> {
        SHAPES.iter().find(|shape| shape.name == name)
    }

    /// Returns the readings of a response, without hours that have no temperature. The error message names the field
    /// and its problem.
    pub fn read(&self, response: &Value, is_metric: bool) -> Result<Vec<WeatherReading>, String> {
        if !self.is_hourly {
            let reading = self.reading(response, None, is_metric)?;
            return Ok(vec![reading.ok_or_else(|| format!("`{}`: it is null", self.temperature.0))?]);
        }
        let hours = response.pointer(self.time).and_then(Value::as_array);
        let hours = hours.ok_or_else(|| format!("`{}`: it has no list there", self.time))?.len();
        (0..hours).filter_map(|index| self.reading(response, Some(index), is_metric).transpose()).collect()
    }

    /// Reads the array elements at `index`, or the only values if it is `None`. Returns `None` if the temperature is
    /// null.
    fn reading(&self, body: &Value, index: Option<usize>, is_metric: bool) -> Result<Option<WeatherReading>, String> {
        let field = |pointer: &str| index.map_or_else(|| pointer.to_owned(), |index| format!("{pointer}/{index}"));
        let unfit = |pointer: &str, problem: &str| format!("`{}`: {problem}", field(pointer));
        let whole = |pointer: &str| {
            let found = body.pointer(&field(pointer)).and_then(Value::as_i64);
            found.ok_or_else(|| unfit(pointer, "it has no whole number there"))
        };
        let number = |(pointer, unit): (&str, Unit)| match body.pointer(&field(pointer)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(unit.convert(number, is_metric))),
                None => Err(unfit(pointer, "it has no number there")),
            },
        };
        let time =
            DateTime::from_timestamp(whole(self.time)?, 0).ok_or_else(|| unfit(self.time, "it is not a valid time"))?;
        if body.pointer(&field(self.temperature.0)).is_none() {
            return Err(unfit(self.temperature.0, "it has no number there"));
        }
        let Some(temperature_celsius) = number(self.temperature)? else { return Ok(None) };
        let code = whole(self.condition)?;
        let known = self.codes.iter().position(|codes| codes.iter().any(|range| range.contains(&code)));
        let known = known.ok_or_else(|| unfit(self.condition, &format!("unknown code {code}")))?;
        Ok(Some(WeatherReading {
            hour: hour_of(time),
            temperature_celsius,
            condition: CONDITIONS[known],
            humidity_percent: number(self.humidity)?,
            pressure_hpa: number(self.pressure)?,
            wind_speed_kmh: number(self.wind)?,
            visibility_km: number(self.visibility)?,
            uv_index: self.uv.map(number).transpose()?.flatten(),
        }))
    }
}

impl Unit {
    /// Converts a value to the unit of the table, rounded to hundredths to avoid false precision.
    fn convert(self, number: f64, is_metric: bool) -> f64 {
        let converted = match self {
            Kelvin if !is_metric => number - 273.15,
            MetresPerSecond => number * 3.6,
            Metres => number / 1_000.0,
            Kelvin | Same => return number,
        };
        (converted * 100.0).round() / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        for shape in &SHAPES {
            assert!(shape.read(&json!({}), false).expect_err(shape.name).contains(shape.time));
        }
        let shape = Shape::of("weatherapi").expect("it is known");
        let good = json!({ "last_updated_epoch": 1_704_123_900, "temp_c": 7.4, "condition": { "code": 1183 } });
        assert_eq!(shape.read(&json!({ "current": good }), false).expect("a reading")[0].condition, Rain);
        for (field, value, problem) in [
            ("temp_c", json!("warm"), "/current/temp_c`: it has no number there"),
            ("temp_c", json!(null), "/current/temp_c`: it is null"),
            ("last_updated_epoch", json!(1.5), "/current/last_updated_epoch`: it has no whole number there"),
            ("condition", json!({ "code": 7 }), "/current/condition/code`: unknown code 7"),
        ] {
            let mut bad = json!({ "current": good });
            bad["current"][field] = value;
            let error = shape.read(&bad, false).expect_err(field);
            assert!(error.contains(problem), "{error}");
        }
    }
}
