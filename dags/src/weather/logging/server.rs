//! `orch-pipelines logging-server`: readings over HTTP, each appended to the topic `weather` before the response.
//!
//! The endpoints are `GET /log?city=…&temperature=…` and `GET /health`. There is no login, so the command listens only
//! on this machine by default (`orch_binary::server`).

use super::{PARTITIONS, Reading, TOPIC};
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
const MAX_CITY_CHARS: usize = 200;
const MAX_TEMPERATURE_CHARS: usize = 50;
/// Timeout for appending a record, after which clients retry.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

pub fn server() -> BundleServer {
    let about = "Receive weather readings over HTTP, without a login, and append them to the topic `weather`";
    BundleServer::new("logging-server", about, PORT, |serving| Box::pin(app(serving)))
}

struct Logger {
    serving: Serving,
    /// Producer of a Kafka cluster; `None` if the topics are in the built-in log.
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
    let health = get(|| async { Json(json!({ "status": "healthy" })) });
    let app = Router::new().route("/log", get(log)).route("/health", health);
    Ok(app.with_state(Arc::new(Logger { serving, kafka })))
}

async fn log(State(logger): State<Arc<Logger>>, RawQuery(query): RawQuery) -> Response {
    let (city, temperature) = match parameters(query.as_deref().unwrap_or_default()) {
        Ok(parameters) => parameters,
        Err(message) => return respond(StatusCode::BAD_REQUEST, message, None),
    };
    match tokio::time::timeout(WRITE_TIMEOUT, logger.write(city, temperature)).await {
        Ok(Ok(reading)) => respond(StatusCode::OK, "Weather data logged", Some(reading)),
        Ok(Err(error)) => {
            tracing::error!(error = format!("{error:#}"), "a reading was not written");
            respond(StatusCode::INTERNAL_SERVER_ERROR, "Weather data was not logged", None)
        }
        Err(_) => {
            tracing::error!(seconds = WRITE_TIMEOUT.as_secs(), "a reading was not written in time");
            respond(StatusCode::INTERNAL_SERVER_ERROR, "It is not known whether weather data was logged", None)
        }
    }
}

fn respond(status: StatusCode, message: &'static str, data: Option<Reading>) -> Response {
    #[derive(Serialize)]
    struct Body {
        status: &'static str,
        message: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Reading>,
    }
    let outcome = if data.is_some() { "success" } else { "error" };
    (status, Json(Body { status: outcome, message, data })).into_response()
}

impl Logger {
    /// Appends a reading, and returns it after it is written.
    async fn write(&self, city: String, temperature: String) -> TaskResult<Reading> {
        let reading = Reading::at(self.serving.now().await?, city, temperature);
        let records = [NewRecord::json(&reading)?];
        match &self.kafka {
            Some(kafka) => drop(kafka.produce(TOPIC, &records).await?),
            None => self.serving.produce(TOPIC, PARTITIONS as i16, &records).await?,
        }
        Ok(reading)
    }
}

/// Returns the city and the temperature of a query. The first of several parameters with one name wins.
fn parameters(query: &str) -> Result<(String, String), &'static str> {
    let value = |wanted: &str| {
        let (_, value) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted)?;
        Some(value.into_owned()).filter(|value| !value.is_empty())
    };
    let (Some(city), Some(temperature)) = (value("city"), value("temperature")) else {
        return Err("Missing required parameters: city and temperature");
    };
    if city.chars().count() > MAX_CITY_CHARS || temperature.chars().count() > MAX_TEMPERATURE_CHARS {
        return Err("Parameter too long: city has at most 200 characters, temperature 50");
    }
    if city.chars().chain(temperature.chars()).any(char::is_control) {
        return Err("Parameters must not have control characters");
    }
    Ok((city, temperature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_required_and_limited() {
        let long = |chars: usize| format!("city={}&temperature=1", "x".repeat(chars));
        let good = parameters("temperature=-3&city=S%C3%A3o%20Paulo&city=other&more=1");
        assert_eq!(good, Ok(("São Paulo".into(), "-3".into())));
        assert!(parameters(&long(MAX_CITY_CHARS)).is_ok());
        for (query, message) in [
            ("city=&temperature=1", "Missing"),
            ("city=a%00&temperature=1", "Parameters must not"),
            ("city=a&temperature=1%0A", "Parameters must not"),
            (&long(MAX_CITY_CHARS + 1), "Parameter too long"),
        ] {
            assert!(parameters(query).expect_err(query).starts_with(message), "{query}");
        }
    }
}
