//! The weather APIs as data: how each is requested, and where its response has each value.

use super::hours::hour_of;
use super::readings::{Condition, WeatherReading};
use chrono::DateTime;
use serde_json::Value;
use std::ops::RangeInclusive;

/// Names and values of query parameters.
type Params = &'static [(&'static str, &'static str)];

/// An API.
#[derive(Debug)]
pub struct Shape {
    /// The type of a connection.
    pub name: &'static str,
    pub host: &'static str,
    pub path: &'static str,
    pub params: Params,
    /// The parameter that carries the key.
    pub key: &'static str,
    /// Two parameters for latitude and longitude, or one for both.
    pub place: &'static [&'static str],
    /// Parameters beside the name of a city (`q=NAME`). `None` if the API only takes coordinates.
    pub by_name: Option<Params>,
    /// Path and parameters of the server for hours that are long past (`api.` in its name becomes `archive-api.`).
    pub archive: Option<(&'static str, Params)>,
    pub tells: Tells,
    /// JSON pointer to seconds since the Unix epoch.
    time: &'static str,
    temperature: (&'static str, Unit),
    humidity: (&'static str, Unit),
    pressure: (&'static str, Unit),
    wind: (&'static str, Unit),
    visibility: (&'static str, Unit),
    uv: Option<(&'static str, Unit)>,
    /// JSON pointer to a code.
    condition: &'static str,
    /// The first condition with a matching range wins.
    codes: [(Condition, &'static [RangeInclusive<i64>]); 5],
}

/// The hours that a response covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// The current weather.
    Now,
    /// Arrays with an element for each hour.
    Hours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Same,
    /// Celsius if metric units were requested.
    Kelvin,
    MetresPerSecond,
    Metres,
}

use Condition::{Clear, Cloudy, Fog, Rain, Snow};
use Unit::{Kelvin, Metres, MetresPerSecond, Same};

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
        tells: Tells::Now,
        time: "/dt",
        temperature: ("/main/temp", Kelvin),
        humidity: ("/main/humidity", Same),
        pressure: ("/main/pressure", Same),
        wind: ("/wind/speed", MetresPerSecond),
        visibility: ("/visibility", Metres),
        uv: None,
        condition: "/weather/0/id",
        codes: [
            (Clear, &[800..=800]),
            (Cloudy, &[801..=899]),
            (Fog, &[700..=799]),
            (Snow, &[600..=699]),
            (Rain, &[200..=599]),
        ],
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
        tells: Tells::Now,
        time: "/current/last_updated_epoch",
        temperature: ("/current/temp_c", Same),
        humidity: ("/current/humidity", Same),
        pressure: ("/current/pressure_mb", Same),
        wind: ("/current/wind_kph", Same),
        visibility: ("/current/vis_km", Same),
        uv: Some(("/current/uv", Same)),
        condition: "/current/condition/code",
        codes: [
            (Clear, &[1000..=1000]),
            (Cloudy, &[1003..=1009]),
            (Fog, &[1030..=1030, 1135..=1147]),
            (Snow, &[1066..=1069, 1114..=1117, 1204..=1237, 1249..=1264, 1279..=1282]),
            (Rain, &[1063..=1276]),
        ],
    },
    Shape {
        name: "open_meteo",
        host: "api.open-meteo.com",
        path: "v1/forecast",
        params: &[
            (
                "hourly",
                "temperature_2m,relative_humidity_2m,surface_pressure,wind_speed_10m,visibility,uv_index,weather_code",
            ),
            ("timeformat", "unixtime"),
            ("timezone", "GMT"),
        ],
        key: "apikey",
        place: &["latitude", "longitude"],
        by_name: None,
        // The archive has neither visibility nor the UV index.
        archive: Some((
            "v1/archive",
            &[
                ("hourly", "temperature_2m,relative_humidity_2m,surface_pressure,wind_speed_10m,weather_code"),
                ("timeformat", "unixtime"),
                ("timezone", "GMT"),
            ],
        )),
        tells: Tells::Hours,
        time: "/hourly/time",
        temperature: ("/hourly/temperature_2m", Same),
        humidity: ("/hourly/relative_humidity_2m", Same),
        pressure: ("/hourly/surface_pressure", Same),
        wind: ("/hourly/wind_speed_10m", Same),
        visibility: ("/hourly/visibility", Metres),
        uv: Some(("/hourly/uv_index", Same)),
        condition: "/hourly/weather_code",
        codes: [
            (Clear, &[0..=1]),
            (Cloudy, &[2..=3]),
            (Fog, &[45..=48]),
            (Snow, &[71..=77, 85..=86]),
            (Rain, &[51..=67, 80..=82, 95..=99]),
        ],
    },
];

impl Shape {
    pub fn of(name: &str) -> Option<&'static Shape> {
        SHAPES.iter().find(|shape| shape.name == name)
    }

    /// Returns the readings of a response. Hours without a temperature are left out; the pipeline reports them as missing.
    ///
    /// # Errors
    /// Returns the field and the problem if a time, temperature or condition is missing or a value has the wrong type.
    pub fn read(&self, response: &Value, is_metric: bool) -> Result<Vec<WeatherReading>, String> {
        if self.tells == Tells::Now {
            let reading = self.reading(response, None, is_metric)?;
            return Ok(vec![reading.ok_or_else(|| format!("`{}`: it is null", self.temperature.0))?]);
        }
        let hours = response.pointer(self.time).and_then(Value::as_array);
        let hours = hours.ok_or_else(|| format!("`{}`: it has no list there", self.time))?.len();
        (0..hours).filter_map(|index| self.reading(response, Some(index), is_metric).transpose()).collect()
    }

    /// Reads the element at `index` of the arrays, or the only values. Returns `None` if the temperature is null.
    fn reading(
        &self,
        response: &Value,
        index: Option<usize>,
        is_metric: bool,
    ) -> Result<Option<WeatherReading>, String> {
        let field = |pointer: &str| index.map_or_else(|| pointer.to_owned(), |index| format!("{pointer}/{index}"));
        let unfit = |pointer: &str, problem: &str| format!("`{}`: {problem}", field(pointer));
        let whole = |pointer: &str| {
            let found = response.pointer(&field(pointer)).and_then(Value::as_i64);
            found.ok_or_else(|| unfit(pointer, "it has no whole number there"))
        };
        let number = |(pointer, unit): (&str, Unit)| match response.pointer(&field(pointer)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(unit.convert(number, is_metric))),
                None => Err(unfit(pointer, "it has no number there")),
            },
        };
        let time =
            DateTime::from_timestamp(whole(self.time)?, 0).ok_or_else(|| unfit(self.time, "it is not a valid time"))?;
        if response.pointer(&field(self.temperature.0)).is_none() {
            return Err(unfit(self.temperature.0, "it has no number there"));
        }
        let Some(temperature_celsius) = number(self.temperature)? else { return Ok(None) };
        let code = whole(self.condition)?;
        let known = self.codes.iter().find(|(_, codes)| codes.iter().any(|range| range.contains(&code)));
        let (condition, _) = known.ok_or_else(|| unfit(self.condition, &format!("unknown code {code}")))?;
        Ok(Some(WeatherReading {
            hour: hour_of(time),
            temperature_celsius,
            condition: *condition,
            humidity_percent: number(self.humidity)?,
            pressure_hpa: number(self.pressure)?,
            wind_speed_kmh: number(self.wind)?,
            visibility_km: number(self.visibility)?,
            uv_index: self.uv.map(number).transpose()?.flatten(),
        }))
    }
}

impl Unit {
    /// Converts to the unit of the table, rounded to hundredths so that the result has no false precision.
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
        let current = json!({ "last_updated_epoch": 1_704_123_900, "temp_c": 7.4, "condition": { "code": 1183 } });
        for (field, value, problem) in [
            ("temp_c", json!("warm"), "/current/temp_c`: it has no number there"),
            ("temp_c", json!(null), "/current/temp_c`: it is null"),
            ("last_updated_epoch", json!(1.5), "/current/last_updated_epoch`: it has no whole number there"),
            ("condition", json!({ "code": 7 }), "/current/condition/code`: unknown code 7"),
        ] {
            let mut bad = json!({ "current": current });
            assert_eq!(shape.read(&bad, false).expect("enough")[0].condition, Rain);
            bad["current"][field] = value;
            let error = shape.read(&bad, false).expect_err(field);
            assert!(error.contains(problem), "{error}");
        }
    }
}
