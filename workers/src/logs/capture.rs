//! Copies `tracing` events of a task function to the log of its attempt.

use super::{AttemptLog, LogLine};
use orch_sdk::task::LogLevel;
use serde_json::{Map, Value};
use std::fmt::Debug;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

tokio::task_local! {
    /// The log of the attempt whose task function is currently polled.
    pub(crate) static ATTEMPT_LOG: Arc<AttemptLog>;
}

/// Returns a layer for the process's `tracing` subscriber. Without this layer, task functions can log only through
/// `ctx`.
pub fn capture_layer<S: Subscriber>() -> impl Layer<S> {
    Capture
}

struct Capture;

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Outside of a task function, the event belongs to the worker's own log.
        ATTEMPT_LOG
            .try_with(|log| {
                let mut fields = Fields::default();
                event.record(&mut fields);
                let meta = event.metadata();
                log.say(&LogLine::new(level(*meta.level()), meta.target(), fields.message, fields.others));
            })
            .ok();
    }
}

fn level(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        Level::DEBUG | Level::TRACE => LogLevel::Debug,
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            // Omit the source location of a line of the crate `log`, which refers to the source of a library.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => drop(self.others.insert(name.into(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
