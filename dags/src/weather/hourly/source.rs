//! Whom a connection names: an API of one of the shapes, or the sample. The key of an API goes out in the query of a
//! request and nowhere else.

use super::hours::hours_until;
use super::options::Location;
use super::readings::{Series, WeatherReading};
use super::sample::Sample;
use super::shapes::{LocationParams, SHAPES, Shape, Tells, Units};
use chrono::{DateTime, TimeDelta, Utc};
use form_urlencoded::Serializer;
use orch::prelude::*;
use orch::{Connection, TaskResult};
use orch_lake::source::http::Http;
use serde_json::Value;

/// An answer of a few kB takes no longer, unless the connection says so.
const USUAL_SECONDS: u64 = 20;
const MOST_SECONDS: u64 = 600;
/// Hours that begin longer ago are asked of the archive: Open-Meteo's forecasts are kept for 92 days, and its archive
/// has all but the last five.
const FORECAST_DAYS: i64 = 60;

#[derive(Debug, Clone)]
pub enum Source {
    Sample(Sample),
    Api(Box<Api>),
}

#[derive(Debug, Clone)]
pub struct Api {
    shape: &'static Shape,
    http: Http,
    archive: Option<Http>,
    key: Option<String>,
    units: Units,
}

/// Which hours are asked for: those of a run, which may be long past.
#[derive(Debug, Clone, Copy)]
pub struct Hours {
    /// Included.
    pub last: DateTime<Utc>,
    pub count: u32,
    /// When they are asked for.
    pub now: DateTime<Utc>,
}

impl Hours {
    fn all(self) -> Vec<DateTime<Utc>> {
        hours_until(self.last, self.count)
    }

    fn first(self) -> DateTime<Utc> {
        self.last - TimeDelta::hours(i64::from(self.count) - 1)
    }

    fn are_long_past(self) -> bool {
        self.first() < self.now - TimeDelta::days(FORECAST_DAYS)
    }
}

impl Source {
    /// `sample://weather?seed=7`, or a shape: `openweather://:KEY@`, with a host where it is not the usual one.
    ///
    /// # Errors
    /// A fatal error when the connection is for something else.
    pub fn of(connection: &Connection) -> TaskResult<Source> {
        if connection.conn_type == "sample" {
            let seed = number(connection, "seed", Sample::default().seed)?;
            return Ok(Source::Sample(Sample { seed }));
        }
        let shape = Shape::of(&connection.conn_type).ok_or_else(|| {
            let known: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
            fatal(format!(
                "connection `{}` has the type `{}`, which tells no weather\nhint: it is one of {}, or `sample`",
                connection.id,
                connection.conn_type,
                known.join(", ")
            ))
        })?;
        let text = |name: &str| connection.extra_field(name).and_then(Value::as_str);
        let seconds = number(connection, "timeout_seconds", USUAL_SECONDS)?.clamp(1, MOST_SECONDS);
        let host = connection.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| shape.host.into());
        // Nothing of it becomes a header: the key belongs into the query, the rest is for us.
        let reached = |host: String| -> TaskResult<Http> {
            let server = Connection {
                id: connection.id.clone(),
                host: Some(host),
                port: connection.port,
                schema: Some(text("scheme").unwrap_or("https").into()),
                ..Connection::default()
            };
            Ok(Http::of(&server)?.within(secs(seconds)))
        };
        let archive = shape.archive.as_ref().map(|archive| reached(host.replacen(archive.host.0, archive.host.1, 1)));
        Ok(Source::Api(Box::new(Api {
            shape,
            archive: archive.transpose()?,
            http: reached(host)?,
            key: connection.password.clone().filter(|key| !key.is_empty()),
            units: if text("units") == Some("metric") { Units::Metric } else { Units::Standard },
        })))
    }

    /// For lineage.
    pub fn uri(&self) -> String {
        match self {
            Source::Sample(_) => "sample://weather".into(),
            Source::Api(api) => api.http.redacted_address(api.shape.path),
        }
    }

    /// The hours that are to be there after a run; an API that tells only of now promises none.
    pub fn promised(&self, hours: Hours) -> Vec<DateTime<Utc>> {
        match self {
            Source::Api(api) if api.shape.tells == Tells::Now => Vec::new(),
            Source::Api(_) | Source::Sample(_) => hours.all(),
        }
    }

    /// What it says of a place and of these hours.
    ///
    /// # Errors
    /// The server refuses, stays silent, says something else, or leaves out what must be told: with its address and the
    /// field.
    pub async fn series(&self, ctx: &Ctx, location: &Location, hours: Hours) -> TaskResult<Series> {
        match self {
            Source::Sample(sample) => {
                let zone = location.clock()?;
                let hours = hours.all().into_iter();
                Series::of(location.clone(), hours.map(|hour| sample.reading(location, zone, hour)))
            }
            Source::Api(api) => {
                let mut readings = api.ask(ctx, location, hours).await?;
                if api.shape.tells == Tells::Hours {
                    // It answers with whole days: forecast hours and hours before the run are dropped.
                    let asked = hours.all();
                    readings.retain(|reading| asked.contains(&reading.hour));
                }
                Series::of(location.clone(), readings)
            }
        }
    }
}

impl Api {
    async fn ask(&self, ctx: &Ctx, location: &Location, hours: Hours) -> TaskResult<Vec<WeatherReading>> {
        let (http, path) = self.request(location, hours);
        let shown = http.redacted_address(&path);
        let answer = http.bytes(ctx, &path).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|error| {
            // The next answer may be better: somebody in between speaks, or it was cut.
            anyhow::anyhow!("`{shown}` answers {} bytes that are no JSON (line {})", answer.len(), error.line())
        })?;
        self.shape.read(&answer, self.units).map_err(|unfit| {
            fatal(format!(
                "`{shown}` answers for `{}` without `{}`: {}\nhint: it tells {}; is that API of the type `{}`?",
                location.name,
                unfit.field,
                unfit.problem,
                fields(&answer),
                self.shape.name
            ))
        })
    }

    /// What it says of a city now, whole. `None`: this API answers in another shape.
    pub(crate) async fn answer_by_name(&self, ctx: &Ctx, shape: &str, city: &str) -> TaskResult<Option<Value>> {
        let Some(path) = self.path_by_name(city).filter(|_| self.shape.name == shape) else { return Ok(None) };
        let answer = self.http.bytes(ctx, &path).await?;
        // The next answer may be better: it was cut, or comes from a proxy.
        let what =
            || format!("`{}` answers {} bytes that are no JSON", self.http.redacted_address(&path), answer.len());
        serde_json::from_slice(&answer).with_context(what).map(Some)
    }

    fn path_by_name(&self, city: &str) -> Option<String> {
        let mut query = Serializer::new(String::new());
        query.append_pair("q", city).extend_pairs(self.shape.by_name?);
        if let Some(key) = &self.key {
            query.append_pair(self.shape.key, key);
        }
        Some(format!("{}?{}", self.shape.path, query.finish()))
    }

    /// Who is asked for these hours, and how.
    fn request(&self, location: &Location, hours: Hours) -> (&Http, String) {
        match (&self.archive, &self.shape.archive) {
            (Some(http), Some(archive)) if hours.are_long_past() => {
                (http, self.path((archive.path, archive.asked), location, hours))
            }
            _ => (&self.http, self.path((self.shape.path, self.shape.asked), location, hours)),
        }
    }

    fn path(&self, (path, asked): (&str, &[(&str, &str)]), location: &Location, hours: Hours) -> String {
        let mut query = Serializer::new(String::new());
        let (latitude, longitude) = (location.latitude.to_string(), location.longitude.to_string());
        match self.shape.place {
            LocationParams::Two(first, second) => {
                query.append_pair(first, &latitude).append_pair(second, &longitude);
            }
            LocationParams::One(name) => {
                query.append_pair(name, &format!("{latitude},{longitude}"));
            }
        }
        query.extend_pairs(asked);
        if self.shape.tells == Tells::Hours {
            let day = |hour: DateTime<Utc>| hour.date_naive().to_string();
            query.append_pair("start_date", &day(hours.first())).append_pair("end_date", &day(hours.last));
        }
        if self.units == Units::Metric {
            query.append_pair("units", "metric");
        }
        if let Some(key) = &self.key {
            query.append_pair(self.shape.key, key);
        }
        format!("{path}?{}", query.finish())
    }
}

fn number(connection: &Connection, name: &str, usual: u64) -> TaskResult<u64> {
    match connection.extra_field(name) {
        None => Ok(usual),
        Some(value) => value.as_u64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(|| {
            fatal(format!("connection `{}`: `{name}` is no number\nhint: write `?{name}={usual}`", connection.id))
        }),
    }
}

/// What an answer has at its top: names only, for values may be anything.
fn fields(answer: &Value) -> String {
    const MOST: usize = 8;
    match answer.as_object() {
        Some(object) if !object.is_empty() => {
            object.keys().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        }
        _ => "no fields".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Weather;
    use super::*;

    /// Asked on the last day of 2025: address and path.
    fn asked(uri: &str, last: &str) -> (String, String) {
        let connection = Connection::from_uri("weather_api", uri).expect("a connection");
        let Ok(Source::Api(api)) = Source::of(&connection) else { panic!("{uri} is no API") };
        let at = |text: &str| text.parse().expect("a time");
        let hours = Hours { last: at(last), count: 24, now: at("2025-12-31T12:30:00Z") };
        let (http, path) = api.request(&Weather::default().locations[0], hours);
        (http.redacted_address(&path), path)
    }

    #[test]
    fn every_shape_is_asked_in_its_way_and_shown_without_its_key() {
        for (uri, address, query) in [
            ("openweather://:hu%26sh@", "https://api.openweathermap.org/data/2.5/weather", "lon=-74.006&appid=hu%26sh"),
            (
                "openweather://:k@?units=metric",
                "https://api.openweathermap.org/data/2.5/weather",
                "units=metric&appid=k",
            ),
            ("weatherapi://:k@", "https://api.weatherapi.com/v1/current.json", "q=40.7128%2C-74.006&aqi=no&key=k"),
            (
                "open-meteo://@",
                "https://api.open-meteo.com/v1/forecast",
                "timezone=GMT&start_date=2025-12-30&end_date=2025-12-31",
            ),
            ("open_meteo://localhost:8080?scheme=http", "http://localhost:8080/v1/forecast", "timeformat=unixtime"),
        ] {
            let (shown, path) = asked(uri, "2025-12-31T12:00:00Z");
            assert_eq!(shown, address, "{uri}");
            assert!(path.contains(query), "{uri}: {path}");
        }
    }

    #[test]
    fn hours_that_are_long_past_are_asked_of_the_archive() {
        for (uri, last, address, days) in [
            ("open-meteo://@", "2025-11-02T23:00:00Z", "https://api.open-meteo.com/v1/forecast", "2025-11-02"),
            ("open-meteo://@", "2024-03-01T10:00:00Z", "https://archive-api.open-meteo.com/v1/archive", "2024-02-29"),
            (
                "open-meteo://:k@customer-api.open-meteo.com",
                "2024-03-01T10:00:00Z",
                "https://customer-archive-api.open-meteo.com/v1/archive",
                "2024-02-29",
            ),
            (
                "open-meteo://weather:8080?scheme=http",
                "2024-03-01T23:00:00Z",
                "http://weather:8080/v1/archive",
                "2024-03-01",
            ),
        ] {
            let (shown, path) = asked(uri, last);
            assert_eq!(shown, address, "{uri}");
            let expected = format!("start_date={days}&end_date={}", &last[..10]);
            assert!(path.contains(&expected) && !path.contains("past_hours"), "{path}");
            assert_eq!(path.contains("visibility"), address.ends_with("forecast"), "{path}");
        }
    }

    #[test]
    fn a_connection_for_something_else_is_refused_with_what_there_is() {
        for (uri, words) in [
            ("mysql://h/db", "one of openweather, weatherapi, open_meteo, or `sample`"),
            ("sample://weather?seed=many", "`seed` is no number"),
        ] {
            let connection = Connection::from_uri("weather_api", uri).expect("a connection");
            let said = Source::of(&connection).expect_err(uri).to_string();
            assert!(said.contains(words) && said.contains("weather_api"), "{said}");
        }
    }
}
