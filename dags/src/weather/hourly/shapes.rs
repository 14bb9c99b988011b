//! The shapes that weather comes in, as one table: where each API is asked, and where in its answer each column stands.

use super::hours::hour_of;
use super::readings::{Condition, WeatherReading};
use chrono::DateTime;
use serde_json::Value;
use std::ops::RangeInclusive;

/// An API, as data.
#[derive(Debug)]
pub struct Shape {
    /// The type of a connection.
    pub name: &'static str,
    pub host: &'static str,
    pub path: &'static str,
    /// The parameter that carries the key.
    pub key: &'static str,
    pub place: LocationParams,
    pub asked: &'static [(&'static str, &'static str)],
    /// Parameters beside the name of a city (`q=NAME`). `None`: it knows coordinates only.
    pub by_name: Option<&'static [(&'static str, &'static str)]>,
    /// Where hours are told that are long past, if that is another place.
    pub archive: Option<Archive>,
    /// Seconds since 1970.
    time: &'static str,
    pub tells: Tells,
    columns: [(Column, &'static str, Unit); 6],
    condition: &'static str,
    codes: &'static [(RangeInclusive<i64>, Condition)],
}

/// How a place is named.
#[derive(Debug, Clone, Copy)]
pub enum LocationParams {
    /// `lat=…&lon=…`
    Two(&'static str, &'static str),
    /// `q=LAT,LON`
    One(&'static str),
}

/// Another server, which answers in the same shape.
#[derive(Debug)]
pub struct Archive {
    /// What the first of these in the name of the usual host becomes.
    pub host: (&'static str, &'static str),
    pub path: &'static str,
    pub asked: &'static [(&'static str, &'static str)],
}

/// What one answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// The weather now.
    Now,
    /// Lists, with a place for each hour.
    Hours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Temperature,
    Humidity,
    Pressure,
    Wind,
    Visibility,
    Uv,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Same,
    Kelvin,
    MetresPerSecond,
    Metres,
    /// This API does not tell it.
    Untold,
}

use Column::{Humidity, Pressure, Temperature, Uv, Visibility, Wind};
use Condition::{Clear, Cloudy, Fog, Rain, Snow};
use Unit::{Kelvin, Metres, MetresPerSecond, Same, Untold};

pub const SHAPES: [Shape; 3] = [
    Shape {
        name: "openweather",
        host: "api.openweathermap.org",
        path: "data/2.5/weather",
        key: "appid",
        place: LocationParams::Two("lat", "lon"),
        asked: &[],
        by_name: Some(&[]),
        archive: None,
        time: "/dt",
        tells: Tells::Now,
        columns: [
            (Temperature, "/main/temp", Kelvin),
            (Humidity, "/main/humidity", Same),
            (Pressure, "/main/pressure", Same),
            (Wind, "/wind/speed", MetresPerSecond),
            (Visibility, "/visibility", Metres),
            (Uv, "", Untold),
        ],
        condition: "/weather/0/id",
        codes: &[(200..=599, Rain), (600..=699, Snow), (700..=799, Fog), (800..=800, Clear), (801..=899, Cloudy)],
    },
    Shape {
        name: "weatherapi",
        host: "api.weatherapi.com",
        path: "v1/current.json",
        key: "key",
        place: LocationParams::One("q"),
        asked: &[("aqi", "no")],
        by_name: Some(&[("aqi", "yes")]),
        archive: None,
        time: "/current/last_updated_epoch",
        tells: Tells::Now,
        columns: [
            (Temperature, "/current/temp_c", Same),
            (Humidity, "/current/humidity", Same),
            (Pressure, "/current/pressure_mb", Same),
            (Wind, "/current/wind_kph", Same),
            (Visibility, "/current/vis_km", Same),
            (Uv, "/current/uv", Same),
        ],
        condition: "/current/condition/code",
        // The first that fits: snow, sleet and ice stand between showers of rain.
        codes: &[
            (1000..=1000, Clear),
            (1003..=1009, Cloudy),
            (1030..=1030, Fog),
            (1135..=1147, Fog),
            (1066..=1069, Snow),
            (1114..=1117, Snow),
            (1204..=1237, Snow),
            (1249..=1264, Snow),
            (1279..=1282, Snow),
            (1063..=1276, Rain),
        ],
    },
    Shape {
        name: "open_meteo",
        host: "api.open-meteo.com",
        path: "v1/forecast",
        key: "apikey",
        place: LocationParams::Two("latitude", "longitude"),
        asked: &[
            (
                "hourly",
                "temperature_2m,relative_humidity_2m,surface_pressure,wind_speed_10m,visibility,uv_index,weather_code",
            ),
            ("timeformat", "unixtime"),
            ("timezone", "GMT"),
        ],
        by_name: None,
        archive: Some(Archive {
            host: ("api.", "archive-api."),
            path: "v1/archive",
            // It has kept neither visibility nor the UV index.
            asked: &[
                ("hourly", "temperature_2m,relative_humidity_2m,surface_pressure,wind_speed_10m,weather_code"),
                ("timeformat", "unixtime"),
                ("timezone", "GMT"),
            ],
        }),
        time: "/hourly/time",
        tells: Tells::Hours,
        columns: [
            (Temperature, "/hourly/temperature_2m", Same),
            (Humidity, "/hourly/relative_humidity_2m", Same),
            (Pressure, "/hourly/surface_pressure", Same),
            (Wind, "/hourly/wind_speed_10m", Same),
            (Visibility, "/hourly/visibility", Metres),
            (Uv, "/hourly/uv_index", Same),
        ],
        condition: "/hourly/weather_code",
        codes: &[
            (0..=1, Clear),
            (2..=3, Cloudy),
            (45..=48, Fog),
            (51..=67, Rain),
            (71..=77, Snow),
            (80..=82, Rain),
            (85..=86, Snow),
            (95..=99, Rain),
        ],
    },
];

/// The answer lacks something, or has something else there.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit {
    pub field: String,
    pub problem: String,
}

/// Kelvin unless metric units were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    Standard,
    Metric,
}

impl Shape {
    pub fn of(name: &str) -> Option<&'static Shape> {
        SHAPES.iter().find(|shape| shape.name == name)
    }

    /// What an answer says. Hours without a temperature are left out: somebody reports that they are missing.
    ///
    /// # Errors
    /// Time, temperature or condition are not where they should be.
    pub fn read(&self, answer: &Value, units: Units) -> Result<Vec<WeatherReading>, Unfit> {
        match self.tells {
            Tells::Now => Ok(vec![self.reading(answer, None, units)?.ok_or_else(|| self.unfit(Temperature, "null"))?]),
            Tells::Hours => {
                let hours = answer.pointer(self.time).and_then(Value::as_array);
                let hours = hours.ok_or_else(|| Unfit::new(self.time, "it has no list there"))?;
                let all = (0..hours.len()).map(|place| self.reading(answer, Some(place), units));
                all.filter_map(Result::transpose).collect()
            }
        }
    }

    fn reading(&self, answer: &Value, place: Option<usize>, units: Units) -> Result<Option<WeatherReading>, Unfit> {
        let at = |pointer: &str| place.map_or_else(|| pointer.to_owned(), |place| format!("{pointer}/{place}"));
        let whole = |pointer: &str| {
            let field = at(pointer);
            let found = answer.pointer(&field).and_then(Value::as_i64);
            found.ok_or_else(|| Unfit::new(field, "it has no whole number there"))
        };
        let seconds = whole(self.time)?;
        let time = DateTime::from_timestamp(seconds, 0).ok_or_else(|| Unfit::new(at(self.time), "that is no time"))?;
        let mut found = [None; 6];
        for ((column, pointer, unit), value) in self.columns.iter().zip(&mut found) {
            let field = at(pointer);
            *value = match answer.pointer(&field) {
                _ if matches!(unit, Untold) => None,
                Some(number) if number.is_number() => number.as_f64().map(|number| unit.convert(number, units)),
                Some(Value::Null) => None,
                None if *column != Temperature => None,
                _ => return Err(Unfit::new(field, "it has no number there")),
            };
        }
        let [Some(temperature_celsius), humidity_percent, pressure_hpa, wind_speed_kmh, visibility_km, uv_index] =
            found
        else {
            return Ok(None);
        };
        let code = whole(self.condition)?;
        let condition = self.codes.iter().find(|(codes, _)| codes.contains(&code));
        let unknown = || Unfit::new(at(self.condition), format!("unknown code {code}"));
        Ok(Some(WeatherReading {
            hour: hour_of(time),
            temperature_celsius,
            condition: condition.ok_or_else(unknown)?.1,
            humidity_percent,
            pressure_hpa,
            wind_speed_kmh,
            visibility_km,
            uv_index,
        }))
    }

    fn unfit(&self, column: Column, value: &str) -> Unfit {
        let field = self.columns.iter().find(|(known, ..)| *known == column).map_or("", |(_, pointer, _)| pointer);
        Unfit::new(field, format!("it is {value}"))
    }
}

impl Unit {
    fn convert(self, number: f64, units: Units) -> f64 {
        // To the hundredth: what is converted has no more figures than what was told.
        let hundredths = |number: f64| (number * 100.0).round() / 100.0;
        match self {
            Kelvin if units == Units::Standard => hundredths(number - 273.15),
            MetresPerSecond => hundredths(number * 3.6),
            Metres => hundredths(number / 1_000.0),
            Kelvin | Same | Untold => number,
        }
    }
}

impl Unfit {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Unfit {
        Unfit { field: field.into(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_shape_says_a_time_a_temperature_and_a_condition_or_which_field_it_lacks() {
        for shape in &SHAPES {
            let unfit = shape.read(&json!({}), Units::Standard).expect_err(shape.name);
            assert_eq!(unfit.field, shape.time);
        }
        let shape = Shape::of("weatherapi").expect("it is there");
        let mut answer = json!({ "current": { "last_updated_epoch": 1_704_123_900, "temp_c": 7.4, "condition": { "code": 1183 },
            "humidity": 86, "uv": null } });
        let reading = shape.read(&answer, Units::Standard).expect("enough").remove(0);
        assert_eq!((reading.temperature_celsius, reading.condition, reading.uv_index), (7.4, Rain, None));
        assert_eq!(reading.hour.to_rfc3339(), "2024-01-01T15:00:00+00:00");
        for (field, value, problem) in [
            ("temp_c", json!("warm"), "it has no number there"),
            ("last_updated_epoch", json!(1.5), "it has no whole number there"),
            ("condition", json!({ "code": 7 }), "unknown code 7"),
        ] {
            let good = answer["current"][field].take();
            answer["current"][field] = value;
            let unfit = shape.read(&answer, Units::Standard).expect_err(field);
            assert!(unfit.field.contains(field) && unfit.problem == problem, "{unfit:?}");
            answer["current"][field] = good;
        }
    }

    #[test]
    fn units_become_those_of_the_table() {
        let shape = Shape::of("openweather").expect("it is there");
        let answer = json!({ "dt": 1_560_350_645, "main": { "temp": 282.55, "humidity": 100 }, "wind": { "speed": 1.5 },
            "visibility": 16_093, "weather": [{ "id": 800 }] });
        let read = |units| shape.read(&answer, units).expect("enough").remove(0);
        let reading = read(Units::Standard);
        assert_eq!((reading.temperature_celsius, reading.wind_speed_kmh), (9.4, Some(5.4)));
        assert_eq!((reading.visibility_km, reading.pressure_hpa, reading.condition), (Some(16.09), None, Clear));
        assert!((read(Units::Metric).temperature_celsius - 282.55).abs() < 1e-9);
    }

    #[test]
    fn an_hour_without_a_temperature_is_left_out() {
        let shape = Shape::of("open_meteo").expect("it is there");
        let answer = json!({ "hourly": { "time": [0, 3_600, 7_200], "temperature_2m": [1.5, null, 3],
            "weather_code": [0, 45, 71] } });
        let read = shape.read(&answer, Units::Standard).expect("lists");
        assert_eq!(read.iter().map(|one| one.condition).collect::<Vec<_>>(), [Clear, Snow]);
        assert_eq!(read[1].hour.timestamp(), 7_200);
    }
}
