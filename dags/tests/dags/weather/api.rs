//! A fake weather API on this machine, with responses that tests choose.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use orch_dags::weather::hourly::hours::hour_of;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// API key that this fake server expects. Tests assert that it never appears in logs.
pub(crate) const KEY: &str = "k3y-that-nobody-sees";

#[derive(Debug, Clone)]
pub(crate) enum Mood {
    /// All requested hours, each with a temperature.
    Good,
    /// The requested hours with a change.
    Changed(fn(&mut Value)),
    /// A fixed response: status, headers and body.
    Says(&'static str, &'static str, String),
    /// A complete response for each `?q=NAME`, and an error for other names.
    Named(BTreeMap<String, String>),
    /// No response.
    Silent,
}

pub(crate) struct Api {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

struct State {
    mood: Mood,
    asked: Vec<String>,
}

impl Api {
    pub(crate) async fn start(mood: Mood) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { mood, asked: Vec::new() }));
        let (mut serving, shared) = (JoinSet::new(), state.clone());
        serving.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                sessions.spawn(serve(stream, shared.clone()));
            }
        });
        Api { port, state, _serving: serving }
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Returns the URI of a connection to this server with an API shape.
    pub(crate) fn uri(&self, shape: &str, more: &str) -> String {
        format!("{shape}://:{KEY}@127.0.0.1:{}?scheme=http&timeout_seconds=1{more}", self.port)
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_string();
    let mood = {
        let mut state = state.lock().unwrap();
        state.asked.push(line.clone());
        state.mood.clone()
    };
    let (status, headers, body) = match mood {
        // Waits until the client disconnects.
        Mood::Silent => {
            stream.read_u8().await.ok();
            return;
        }
        Mood::Good => answered(hourly(&line)),
        Mood::Changed(change) => answered(hourly(&line).map(|mut answer| {
            change(&mut answer);
            answer
        })),
        Mood::Says(status, headers, body) => (status, headers, body),
        Mood::Named(answers) => {
            let query = line.split(['?', ' ']).nth(2).unwrap_or_default();
            let name = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "q");
            match name.and_then(|(_, name)| answers.get(name.as_ref()).cloned()) {
                Some(answer) => ("200 OK", "", answer),
                None => answered(Err("No matching location found.")),
            }
        }
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.ok();
}

fn answered(answer: Result<Value, &str>) -> (&'static str, &'static str, String) {
    match answer {
        Ok(answer) => ("200 OK", "", answer.to_string()),
        Err(reason) => ("400 Bad Request", "", json!({ "error": true, "reason": reason }).to_string()),
    }
}

/// Returns the Open-Meteo response to `?start_date=…&end_date=…&timeformat=unixtime`: all hours of these days in its
/// documented format, or the reason of the rejection.
fn hourly(request: &str) -> Result<Value, &'static str> {
    let asked = |name: &str| request.split(&format!("{name}=")).nth(1).and_then(|rest| rest.split(['&', ' ']).next());
    let day = |name: &str| asked(name).and_then(|day| day.parse::<NaiveDate>().ok());
    let (Some(first), Some(last)) = (day("start_date"), day("end_date")) else {
        return Err("Both 'start_date' and 'end_date' must be set");
    };
    if asked("past_hours").or(asked("forecast_hours")).is_some() {
        return Err("Parameter 'past_days' is mutually exclusive with 'start_date' and 'end_date'");
    }
    let (today, is_archive) = (now().date_naive(), request.starts_with("GET /v1/archive?"));
    let newest = if is_archive { today - TimeDelta::days(2) } else { today + TimeDelta::days(15) };
    if last > newest || (!is_archive && first < today - TimeDelta::days(92)) {
        return Err("Parameter 'start_date' is out of allowed range");
    }
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp();
    let hours: Vec<i64> = (midnight(first)..midnight(last) + 86_400).step_by(3_600).collect();
    let all = |of: f64| vec![json!(of); hours.len()];
    let mut answer = json!({
        "latitude": 40.71, "longitude": -73.99, "generationtime_ms": 0.1, "utc_offset_seconds": 0,
        "timezone": "GMT", "timezone_abbreviation": "GMT", "elevation": 32.0,
        "hourly_units": { "time": "unixtime", "temperature_2m": "°C" },
        "hourly": {
            "temperature_2m": hours.iter().map(|at| json!((at / 3_600 % 24) as f64 + 0.5)).collect::<Vec<_>>(),
            "relative_humidity_2m": all(60.0), "surface_pressure": all(1_013.2), "wind_speed_10m": all(9.0),
            "visibility": all(24_140.0), "uv_index": all(0.35), "weather_code": vec![json!(3); hours.len()],
            "time": hours,
        },
    });
    if is_archive && let Some(lists) = answer["hourly"].as_object_mut() {
        lists.retain(|name, _| !["visibility", "uv_index"].contains(&name.as_str()));
    }
    Ok(answer)
}

/// Returns the index of the hour `hours` ago in the lists of a response.
pub(crate) fn ago(answer: &Value, hours: i64) -> usize {
    let hour = json!((hour_of(now()) - TimeDelta::hours(hours)).timestamp());
    answer["hourly"]["time"].as_array().unwrap().iter().position(|known| *known == hour).unwrap()
}

/// Returns the current time of the fake server.
#[expect(clippy::disallowed_methods, reason = "this one is nobody of ours")]
pub(crate) fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}
