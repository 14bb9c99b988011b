//! Prometheus metrics of the requests to a server of a bundle. [`crate::metrics`] adds the metrics of the process.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use orch_spec::metrics::Text;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Labels of responses: the first digit of the status. Paths would be an unbounded label, because callers choose them.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct RequestTally {
    running: AtomicU64,
    answered: [AtomicU64; CLASSES.len()],
    micros: AtomicU64,
}

impl RequestTally {
    pub(crate) fn tell(&self, text: &mut Text) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        text.gauge("orch_server_requests_running", "Requests that are not answered yet.").is(read(&self.running));
        let mut answered = text.counter("orch_server_requests_total", "Requests that were answered, by status.");
        for (class, count) in CLASSES.iter().zip(&self.answered) {
            answered.with(&[("status", *class)], read(count));
        }
        let seconds = Duration::from_micros(read(&self.micros)).as_secs_f64();
        text.counter("orch_server_request_seconds_total", "Time until those answers began.").is(seconds);
    }

    fn add(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = self.answered.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }
}

pub(crate) fn counted(app: Router, tally: Arc<RequestTally>) -> Router {
    app.layer(from_fn_with_state(tally, count))
}

async fn count(State(tally): State<Arc<RequestTally>>, request: Request, next: Next) -> Response {
    let _running = RunningRequest::new(&tally.running);
    let began = Instant::now();
    let response = next.run(request).await;
    tally.add(response.status(), began.elapsed());
    response
}

/// Counts a running request until it is dropped, which also happens when the caller disconnects early.
struct RunningRequest<'a>(&'a AtomicU64);

impl<'a> RunningRequest<'a> {
    fn new(running: &'a AtomicU64) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        RunningRequest(running)
    }
}

impl Drop for RunningRequest<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_by_the_first_figure_of_their_status() {
        let tally = RequestTally::default();
        for status in [StatusCode::OK, StatusCode::CREATED, StatusCode::NOT_FOUND] {
            tally.add(status, Duration::from_millis(500));
        }
        let running = RunningRequest::new(&tally.running);
        let told = || {
            let mut text = Text::default();
            tally.tell(&mut text);
            text.into_text()
        };
        for line in [
            "orch_server_requests_running 1",
            "orch_server_requests_total{status=\"2xx\"} 2",
            "orch_server_requests_total{status=\"4xx\"} 1",
            "orch_server_requests_total{status=\"5xx\"} 0",
            "orch_server_request_seconds_total 1.5",
        ] {
            assert!(told().lines().any(|found| found == line), "{line}: {}", told());
        }
        drop(running);
        assert!(told().contains("orch_server_requests_running 0\n"), "{}", told());
    }
}
