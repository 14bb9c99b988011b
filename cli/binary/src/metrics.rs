//! Prometheus metrics of a worker, a scheduler or a server of a bundle, on `--metrics-address`. The web server exports
//! what all processes have written to the database; this endpoint works without the web server and the database.

use crate::config::{Config, Secret};
use crate::failure::Failure;
use crate::memory::status_bytes;
use crate::parts::Parts;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use orch_spec::metrics::{CONTENT_TYPE, Text};
use orch_store::stream::now;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;

/// Timeout of the database check. A database that takes longer counts as unavailable.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

struct MetricsState {
    role: &'static str,
    began: SystemTime,
    pool: PgPool,
    token: Option<Secret>,
    /// Writes the metrics of this role, in addition to the metrics of every process.
    of_role: Box<dyn Fn(&mut Text) + Send + Sync>,
}

impl Parts {
    /// Serves metrics on the configured address, if there is one.
    pub async fn add_metrics(
        &mut self,
        config: &Config,
        role: &'static str,
        of_role: impl Fn(&mut Text) + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        self.add_metrics_of((role, self.pool()), config, of_role).await
    }

    /// Like `add_metrics`, for a role with its own pool.
    pub(crate) async fn add_metrics_of(
        &mut self,
        (role, pool): (&'static str, PgPool),
        config: &Config,
        of_role: impl Fn(&mut Text) + Send + Sync + 'static,
    ) -> Result<(), Failure> {
        let Some(address) = config.metrics_address else { return Ok(()) };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::new(format!("cannot listen at {address}: {error}"))
                .hint("choose another `--metrics-address`; port 0 is a free one")
        })?;
        let address = listener.local_addr().map_err(Failure::io("cannot listen"))?;
        #[expect(clippy::disallowed_methods, reason = "when a process began is told by the clock of its machine")]
        let began = SystemTime::now();
        let told = MetricsState { role, began, pool, token: config.metrics_token.clone(), of_role: Box::new(of_role) };
        let app = Router::new()
            .route("/metrics", get(show))
            .route("/healthz", get(async || "alive\n"))
            .with_state(Arc::new(told));
        let stop = self.stop_token();
        tracing::info!("metrics are at http://{address}/metrics");
        self.add(async move {
            let serving = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
            serving.await.map_err(Failure::io("cannot serve metrics"))
        });
        Ok(())
    }
}

async fn show(State(told): State<Arc<MetricsState>>, headers: HeaderMap) -> Response {
    if !told.lets_in(&headers) {
        let why = "a bearer token is needed: the value of ORCH_METRICS_TOKEN\n";
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response();
    }
    let asked = Instant::now();
    let answered = tokio::time::timeout(DATABASE_PATIENCE, async { now(&mut *told.pool.acquire().await?).await });
    let answered = answered.await;
    let round_trip = answered.is_ok_and(|answer| answer.is_ok()).then(|| asked.elapsed());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], told.text(round_trip)).into_response()
}

impl MetricsState {
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        sent.and_then(|sent| sent.strip_prefix("Bearer ")).is_some_and(|sent| are_same(sent, token.reveal()))
    }

    fn text(&self, round_trip: Option<Duration>) -> String {
        let mut text = Text::default();
        let build = [("version", env!("CARGO_PKG_VERSION")), ("role", self.role)];
        text.gauge("orch_build_info", "Version and role of this process.").with(&build, 1);
        let reachable = "1: the database answered this process just now.";
        text.gauge("orch_database_reachable", reachable).is(u8::from(round_trip.is_some()));
        if let Some(round_trip) = round_trip {
            text.gauge("orch_database_query_seconds", "Time of a query that only asks for the time.")
                .is(round_trip.as_secs_f64());
        }
        let mut connections = text.gauge("orch_database_connections", "Connections of the pool of this process.");
        let idle = self.pool.num_idle();
        connections.with(&[("state", "idle")], idle);
        connections.with(&[("state", "busy")], (self.pool.size() as usize).saturating_sub(idle));
        self.process(&mut text);
        (self.of_role)(&mut text);
        text.into_text()
    }

    /// Writes the process metrics under the names that Prometheus client libraries use.
    fn process(&self, text: &mut Text) {
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        text.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.")
            .is(began.as_secs_f64());
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let busy = usage.user_time().num_milliseconds() + usage.system_time().num_milliseconds();
            text.counter("process_cpu_seconds_total", "Processor time, user and system.").is(busy as f64 / 1e3);
        }
        if let Some(bytes) = status_bytes("self", "VmRSS:") {
            text.gauge("process_resident_memory_bytes", "Memory of the process.").is(bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            text.gauge("process_open_fds", "Open files and connections.").is(open.count());
        }
    }
}

/// Compares in constant time, so that the timing does not reveal how many characters are correct.
fn are_same(sent: &str, token: &str) -> bool {
    let differ = sent.bytes().zip(token.bytes()).fold(0, |so_far, (a, b)| so_far | (a ^ b));
    sent.len() == token.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_same() {
        assert!(are_same("token", "token"));
        for other in ["", "toke", "tokem", "token ", "TOKEN"] {
            assert!(!are_same(other, "token"), "{other}");
        }
    }
}
