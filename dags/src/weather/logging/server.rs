//! `orch-pipelines logging-server`: readings over HTTP, each appended to the topic `weather` before it is answered.
//!
//! `GET /log?city=…&temperature=…` and `GET /health`, with the answers of the document. There is no login: the command serves this
//! machine unless it is told otherwise (`orch_binary::server`).

use super::{PARTITIONS, TOPIC};
use crate::common::connections::TOPICS;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use orch::prelude::*;
use orch::{BundleServer, Serving};
use orch_streams::topic::kafka::KafkaProducer;
use orch_streams::topic::{KAFKA, LOG};
use std::sync::Arc;
use std::time::Duration;

const PORT: u16 = 9998;
const MOST_CITY_CHARS: usize = 200;
const MOST_TEMPERATURE_CHARS: usize = 50;
/// A client that waits for longer asks again.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// The command of the binary.
pub fn server() -> BundleServer {
    let about = "Take readings over HTTP, without a login, and append them to the topic `weather`";
    BundleServer::new("logging-server", about, PORT, |serving| Box::pin(app(serving)))
}

struct Logger {
    serving: Serving,
    /// `None`: the built-in log.
    kafka: Option<KafkaProducer>,
}

async fn app(serving: Serving) -> TaskResult<Router> {
    let topics = serving.connection(TOPICS).await?;
    let kafka = match topics.conn_type.as_str() {
        LOG => None,
        KAFKA => Some(KafkaProducer::open(&topics)?),
        other => {
            return Err(fatal(format!(
                "connection `{TOPICS}` is of type `{other}`, which has no topics\nhint: `{LOG}` is the built-in log, `{KAFKA}` a cluster"
            )));
        }
    };
    let app = Router::new().route("/log", get(log)).route("/health", get(health));
    Ok(app.with_state(Arc::new(Logger { serving, kafka })))
}

async fn health() -> Json<Health> {
    Json(Health { status: "healthy" })
}

async fn log(State(logger): State<Arc<Logger>>, RawQuery(query): RawQuery) -> Response {
    let asked = match LogRequest::of(query.as_deref().unwrap_or_default()) {
        Ok(asked) => asked,
        Err(message) => return refused(StatusCode::BAD_REQUEST, message),
    };
    match tokio::time::timeout(WRITTEN_WITHIN, logger.write(asked)).await {
        Ok(Ok(data)) => Json(Logged { status: "success", message: "Weather data logged", data }).into_response(),
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "a reading was not written");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "Weather data was not logged")
        }
        Err(_) => {
            tracing::error!(seconds = WRITTEN_WITHIN.as_secs(), "a reading was not written in time");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "It is not known whether weather data was logged")
        }
    }
}

fn refused(status: StatusCode, message: &'static str) -> Response {
    (status, Json(Refused { status: "error", message })).into_response()
}

impl Logger {
    /// Returns when the record is there.
    async fn write(&self, asked: LogRequest) -> TaskResult<LoggedReading> {
        let ts = self.serving.now().await?.format("%Y-%m-%d-%H").to_string();
        let reading = LoggedReading { city: asked.city, temperature: asked.temperature, ts };
        let records = [NewRecord::json(&reading)?];
        match &self.kafka {
            Some(kafka) => drop(kafka.produce(TOPIC, &records).await?),
            None => self.serving.produce(TOPIC, PARTITIONS as i16, &records).await?,
        }
        Ok(reading)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct LogRequest {
    city: String,
    temperature: String,
}

impl LogRequest {
    /// Of a parameter that is there several times the first counts.
    fn of(query: &str) -> Result<LogRequest, &'static str> {
        let value = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
                .filter(|value| !value.is_empty())
        };
        let (Some(city), Some(temperature)) = (value("city"), value("temperature")) else {
            return Err("Missing required parameters: city and temperature");
        };
        if city.chars().count() > MOST_CITY_CHARS || temperature.chars().count() > MOST_TEMPERATURE_CHARS {
            return Err("Parameter too long: city has at most 200 characters, temperature 50");
        }
        if city.chars().chain(temperature.chars()).any(char::is_control) {
            return Err("Parameters must not have control characters");
        }
        Ok(LogRequest { city, temperature })
    }
}

/// As it is in the topic and in the answer.
#[derive(Debug, Serialize)]
struct LoggedReading {
    city: String,
    temperature: String,
    /// The hour, in UTC.
    ts: String,
}

#[derive(Debug, Serialize)]
struct Logged {
    status: &'static str,
    message: &'static str,
    data: LoggedReading,
}

#[derive(Debug, Serialize)]
struct Refused {
    status: &'static str,
    message: &'static str,
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parameters_are_needed_and_have_a_length() {
        let asked = |city: &str, temperature: &str| LogRequest { city: city.into(), temperature: temperature.into() };
        let long = |many: usize| format!("city={}&temperature=1", "x".repeat(many));
        for (query, expected) in [
            ("city=New+York&temperature=72.5", Ok(asked("New York", "72.5"))),
            ("temperature=-3&city=S%C3%A3o%20Paulo&city=other&more=1", Ok(asked("São Paulo", "-3"))),
            ("", Err("Missing")),
            ("city=a", Err("Missing")),
            ("city=&temperature=1", Err("Missing")),
            ("city=a%00&temperature=1", Err("Parameters must not")),
            ("city=a&temperature=1%0A", Err("Parameters must not")),
        ] {
            match (LogRequest::of(query), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{query}"),
                (Err(found), Err(words)) => assert!(found.starts_with(words), "{query}: {found}"),
                (found, expected) => panic!("{query}: {found:?}, not {expected:?}"),
            }
        }
        assert!(LogRequest::of(&long(MOST_CITY_CHARS)).is_ok() && LogRequest::of(&long(MOST_CITY_CHARS + 1)).is_err());
    }
}
