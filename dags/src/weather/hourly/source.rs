//! The source of a connection: one of the APIs, or generated sample data. The API key appears in the query of a request
//! and nowhere else.

use super::hours::hours_until;
use super::options::Location;
use super::readings::{Series, WeatherReading};
use super::sample::Sample;
use super::shapes::{SHAPES, Shape};
use crate::common::connections::number;
use crate::common::data_end;
use chrono::{DateTime, TimeDelta, Utc};
use form_urlencoded::Serializer;
use orch::prelude::*;
use orch::{Connection, TaskResult};
use orch_lake::source::http::Http;
use serde_json::Value;

/// Default request timeout in seconds; the connection may set another.
const DEFAULT_SECONDS: u64 = 20;
const MAX_SECONDS: u64 = 600;
/// Hours older than this number of days are requested from the archive. Open-Meteo keeps forecasts for 92 days; its
/// archive lacks only the last five.
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
    is_metric: bool,
}

/// The hours of a run, which may be long past.
#[derive(Debug, Clone, Copy)]
pub struct Hours {
    /// Last hour, inclusive.
    pub last: DateTime<Utc>,
    pub count: u32,
    pub now: DateTime<Utc>,
}

impl Source {
    /// Parses a connection: `sample://weather?seed=7`, or the name of an API, such as `openweather://:KEY@`, with a
    /// host if it is not the default one.
    pub fn of(connection: &Connection) -> TaskResult<Source> {
        let Connection { id, conn_type, .. } = connection;
        if conn_type == "sample" {
            return Ok(Source::Sample(Sample {
                seed: number(connection, "seed", Sample::default().seed, 0..=u64::MAX)?,
            }));
        }
        let shape = Shape::of(conn_type).ok_or_else(|| {
            let known = SHAPES.map(|shape| shape.name).join(", ");
            fatal(format!(
                "connection `{id}` has the type `{conn_type}`, which is not a weather API\n\
                 hint: it is one of {known}, or `sample`"
            ))
        })?;
        let text = |name: &str| connection.extra_field(name).and_then(Value::as_str);
        let seconds = number(connection, "timeout_seconds", DEFAULT_SECONDS, 1..=MAX_SECONDS)?;
        let host = connection.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| shape.host.into());
        // Passes only the address: `Http` would send a password as a header, but the key belongs in the query.
        let server = |host: String| -> TaskResult<Http> {
            let server = Connection {
                id: id.clone(),
                host: Some(host),
                port: connection.port,
                schema: Some(text("scheme").unwrap_or("https").into()),
                ..Connection::default()
            };
            Ok(Http::of(&server)?.within(secs(seconds)))
        };
        let archive = shape.archive.map(|_| server(host.replacen("api.", "archive-api.", 1)));
        Ok(Source::Api(Box::new(Api {
            shape,
            archive: archive.transpose()?,
            http: server(host)?,
            key: connection.password.clone().filter(|key| !key.is_empty()),
            is_metric: text("units") == Some("metric"),
        })))
    }

    /// Returns the address without a query, for lineage.
    pub fn uri(&self) -> String {
        match self {
            Source::Sample(_) => "sample://weather".into(),
            Source::Api(api) => api.http.redacted_address(api.shape.path),
        }
    }

    /// Returns the hours that must exist after a run. An API that has only the current weather guarantees none.
    pub fn promised(&self, hours: Hours) -> Vec<DateTime<Utc>> {
        match self {
            Source::Api(api) if !api.shape.is_hourly => Vec::new(),
            Source::Api(_) | Source::Sample(_) => hours_until(hours.last, hours.count),
        }
    }

    /// Returns the weather of a location at these hours. Fails if the server rejects the request or a required field is
    /// missing in its response.
    pub async fn series(&self, ctx: &Ctx, location: &Location, hours: Hours) -> TaskResult<Series> {
        let asked = hours_until(hours.last, hours.count);
        let readings = match self {
            Source::Sample(sample) => {
                let zone = location.clock()?;
                asked.into_iter().map(|hour| sample.reading(location, zone, hour)).collect()
            }
            Source::Api(api) => {
                let mut readings = api.readings(ctx, location, hours).await?;
                // APIs with hours return whole days: later hours are a forecast, and earlier hours are not part of this
                // run.
                readings.retain(|reading| !api.shape.is_hourly || asked.contains(&reading.hour));
                readings
            }
        };
        Series::of(location.clone(), readings)
    }

    /// Skips the task if the connection is for another API.
    pub(crate) fn require(&self, shape: &str) -> TaskResult<()> {
        match self {
            Source::Api(api) if api.shape.name != shape => Err(skip(format!(
                "connection `weather_api` leads to another API\nhint: this DAG needs one of the type `{shape}`, or `sample`"
            ))),
            Source::Api(_) | Source::Sample(_) => Ok(()),
        }
    }

    /// Returns the whole response to a request for the current weather of a city.
    pub(crate) async fn current(
        &self,
        ctx: &Ctx,
        city: &str,
        sample: fn(Sample, &str, DateTime<Utc>) -> TaskResult<Value>,
    ) -> TaskResult<Value> {
        match self {
            Source::Sample(seeded) => sample(*seeded, city, data_end(ctx)),
            Source::Api(api) => {
                let params = api.shape.by_name.context("this API does not take the name of a city")?;
                let pairs = std::iter::once(("q", city)).chain(params.iter().copied());
                api.json(ctx, &api.http, &api.path(api.shape.path, pairs)).await
            }
        }
    }
}

impl Api {
    async fn readings(&self, ctx: &Ctx, location: &Location, hours: Hours) -> TaskResult<Vec<WeatherReading>> {
        let (http, path) = self.request(location, hours);
        let response = self.json(ctx, http, &path).await?;
        self.shape.read(&response, self.is_metric).map_err(|unfit| {
            let (address, city, shape) = (http.redacted_address(&path), &location.name, self.shape.name);
            let found = fields(&response);
            fatal(format!(
                "`{address}` answers for `{city}` without {unfit}\nhint: it tells {found}; is that API of the type `{shape}`?"
            ))
        })
    }

    /// Requests a path and parses the response. Invalid JSON is retried: the response was cut off, or a proxy sent it.
    async fn json(&self, ctx: &Ctx, http: &Http, path: &str) -> TaskResult<Value> {
        let bytes = http.bytes(ctx, path).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let (address, length, line) = (http.redacted_address(path), bytes.len(), error.line());
            anyhow::anyhow!("`{address}` answers {length} bytes that are not JSON (line {line})")
        })
    }

    /// Returns the server for these hours, and the path with its query.
    fn request(&self, location: &Location, hours: Hours) -> (&Http, String) {
        let (shape, first) = (self.shape, hours.last - TimeDelta::hours(i64::from(hours.count) - 1));
        let (http, path, lacking) = match (&self.archive, shape.archive) {
            (Some(http), Some((path, lacking))) if first < hours.now - TimeDelta::days(FORECAST_DAYS) => {
                (http, path, lacking)
            }
            _ => (&self.http, shape.path, ""),
        };
        let degrees = [location.latitude, location.longitude].map(|degrees| degrees.to_string());
        let values = if shape.place.len() == 1 { vec![degrees.join(",")] } else { degrees.to_vec() };
        let mut pairs: Vec<(&'static str, String)> = shape.place.iter().copied().zip(values).collect();
        pairs.extend(shape.params.iter().map(|(name, value)| (*name, value.replace(lacking, ""))));
        if shape.is_hourly {
            let [first, last] = [first, hours.last].map(|hour| hour.date_naive().to_string());
            pairs.extend([("start_date", first), ("end_date", last)]);
        }
        if self.is_metric {
            pairs.push(("units", "metric".into()));
        }
        (http, self.path(path, pairs))
    }

    fn path<V: AsRef<str>>(&self, path: &str, pairs: impl IntoIterator<Item = (&'static str, V)>) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(pairs);
        query.extend_pairs(self.key.iter().map(|key| (self.shape.key, key)));
        format!("{path}?{}", query.finish())
    }
}

/// Returns the names of the first top-level fields of a response, without their values, which may be secrets.
fn fields(response: &Value) -> String {
    let names = response.as_object().into_iter().flat_map(|fields| fields.keys().map(|name| format!("`{name}`")));
    let names: Vec<String> = names.take(8).collect();
    if names.is_empty() { "no fields".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_hours_are_requested_from_the_archive_of_the_server() {
        let new_york = Location::of(("New York", 40.7128, -74.006, "America/New_York"));
        let source = |uri| Source::of(&Connection::from_uri("weather_api", uri).expect("a connection"));
        for (uri, address, query) in [
            ("openweather://:hu%26sh@", "https://api.openweathermap.org/data/2.5/weather", "-74.006&appid=hu%26sh"),
            ("open-meteo://:k@", "https://archive-api.open-meteo.com/v1/archive", "start_date=2024-02-29&end_date="),
            ("open-meteo://customer-api.open-meteo.com", "https://customer-archive-api.open-meteo.com/v1/archive", ""),
            (
                "open_meteo://weather:8080?scheme=http",
                "http://weather:8080/v1/archive",
                "wind_speed_10m%2Cweather_code",
            ),
        ] {
            let Ok(Source::Api(api)) = source(uri) else { panic!("{uri} is not an API") };
            let [last, now] = ["2024-03-01T10:00:00Z", "2025-12-31T12:30:00Z"].map(|at| at.parse().expect("a time"));
            let (http, path) = api.request(&new_york, Hours { last, count: 24, now });
            assert_eq!(http.redacted_address(&path), address, "{uri}");
            assert!(path.contains(query), "{uri}: {path}");
        }
        for (uri, message) in [
            ("mysql://h/db", "or `sample`"),
            ("sample://weather?seed=x", "`seed` must be a whole number\n"),
            ("open-meteo://:k@?timeout_seconds=601", "`timeout_seconds` must be a whole number from 1 to 600"),
        ] {
            let error = source(uri).expect_err(uri).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
