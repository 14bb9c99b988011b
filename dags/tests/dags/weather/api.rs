//! A weather API on this machine: it speaks HTTP over a socket, and is in whatever mood a test puts it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The key that it wants, and that nobody else may see.
pub(super) const KEY: &str = "k3y-that-nobody-sees";

#[derive(Debug, Clone)]
pub(super) enum Mood {
    /// The hours that are asked for; all of them but the last of these have a temperature.
    Good,
    /// The hours, with something done to them.
    Changed(fn(&mut Value)),
    /// Always this.
    Says(&'static str, &'static str, String),
    /// Nothing.
    Silent,
}

pub(super) struct Api {
    pub(super) port: u16,
    state: Arc<Mutex<State>>,
    _serving: JoinSet<()>,
}

struct State {
    mood: Mood,
    asked: Vec<String>,
}

impl Api {
    pub(super) async fn start(mood: Mood) -> Api {
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

    pub(super) fn is(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The connection of a shape to it.
    pub(super) fn uri(&self, shape: &str, more: &str) -> String {
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
        // Until whoever asked goes away.
        Mood::Silent => {
            stream.read_u8().await.ok();
            return;
        }
        Mood::Good => ("200 OK", "", hourly(&line).to_string()),
        Mood::Changed(change) => {
            let mut answer = hourly(&line);
            change(&mut answer);
            ("200 OK", "", answer.to_string())
        }
        Mood::Says(status, headers, body) => (status, headers, body),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.ok();
}

/// What Open-Meteo answers to `?past_hours=N&forecast_hours=1&timeformat=unixtime`, in the shape that it describes.
fn hourly(request: &str) -> Value {
    let asked = request.split("past_hours=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
    let past: i64 = asked.and_then(|past| past.parse().ok()).unwrap_or(24);
    let now = orch_dags::weather::hours::hour_of(now());
    let hours: Vec<i64> = (0..=past).map(|back| (now - TimeDelta::hours(past - back)).timestamp()).collect();
    let all = |of: f64| vec![json!(of); hours.len()];
    json!({
        "latitude": 40.71, "longitude": -73.99, "generationtime_ms": 0.1, "utc_offset_seconds": 0,
        "timezone": "GMT", "timezone_abbreviation": "GMT", "elevation": 32.0,
        "hourly_units": { "time": "unixtime", "temperature_2m": "°C" },
        "hourly": {
            "temperature_2m": hours.iter().map(|at| json!((at / 3_600 % 24) as f64 + 0.5)).collect::<Vec<_>>(),
            "relative_humidity_2m": all(60.0), "surface_pressure": all(1_013.2), "wind_speed_10m": all(9.0),
            "visibility": all(24_140.0), "uv_index": all(0.35), "weather_code": vec![json!(3); hours.len()],
            "time": hours,
        },
    })
}

/// Servers have a clock.
#[expect(clippy::disallowed_methods, reason = "this one is nobody of ours")]
pub(super) fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}
