//! Logs of server processes go to standard error, as text or JSON. Logs of task functions go to the log of their
//! attempt, independent of the level that is set here.

use crate::config::{Config, LogFormat};
use crate::failure::Failure;
use crate::secrets;
use crate::style::environment_is_plain;
use orch_workers::mask;
use std::io::{IsTerminal as _, Write};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

/// Libraries whose debug lines are left out of task logs.
const TOO_CHATTY: [&str; 9] =
    ["sqlparser", "sqlx", "hyper", "tokio", "tower", "rustls", "mio", "apache_avro", "datafusion"];

/// Level of Postgres notices. Informational ones, such as that a schema already exists, are dropped.
const NOTICES: (&str, Level) = ("sqlx::postgres::notice", Level::WARN);

/// Starts logging. Must be called only once per process.
pub(crate) fn start(config: &Config) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(format!("log `{}` is not understood: {error}", config.log))
            .hint("write a level (error, warn, info, debug, trace) or `target=level,…`")
    };
    let filter: Targets = config.log.parse().map_err(|error| wrong(&error))?;
    let filter = filter.with_target(NOTICES.0, NOTICES.1);
    let lines = fmt::layer().with_writer(|| Masked(std::io::stderr()));
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => {
            let is_coloured = std::io::stderr().is_terminal() && !environment_is_plain();
            lines.with_ansi(is_coloured).with_target(false).boxed()
        }
    };
    let logs = Logs { filter, lines, captured: orch_workers::capture_layer() };
    let started = tracing_subscriber::registry().with(logs).try_init();
    secrets::learn(config);
    mask_panics();
    started.map_err(|error| Failure::new(format!("cannot log: {error}")))
}

/// Both destinations of log lines as one layer. Two layers with a filter each would lose lines: when `sqlx` checks
/// before each statement whether its own line is enabled and gets `false`, the next line of the same thread is dropped
/// too.
struct Logs<L, C> {
    filter: Targets,
    /// Writes the lines of this process to standard error.
    lines: L,
    /// Captures the lines of task functions.
    captured: C,
}

impl<L, C> Logs<L, C> {
    fn is_line(&self, line: &Metadata<'_>) -> bool {
        self.filter.would_enable(line.target(), line.level())
    }

    fn is_wanted(&self, line: &Metadata<'_>) -> bool {
        self.is_line(line) || is_worth_capturing(line)
    }
}

impl<S, L, C> Layer<S> for Logs<L, C>
where
    S: Subscriber,
    L: Layer<S>,
    C: Layer<S>,
{
    fn register_callsite(&self, line: &'static Metadata<'static>) -> Interest {
        if self.is_wanted(line) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, line: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_wanted(line)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.filter
            .clone()
            .into_iter()
            .map(|(_, level)| level)
            .chain(self.filter.default_level())
            .chain([LevelFilter::DEBUG])
            .max()
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if is_worth_capturing(event.metadata()) {
            self.captured.on_event(event, context.clone());
        }
        if self.is_line(event.metadata()) {
            self.lines.on_event(event, context);
        }
    }

    fn on_new_span(&self, fields: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.lines.on_new_span(fields, id, context);
    }

    fn on_record(&self, id: &Id, fields: &Record<'_>, context: Context<'_, S>) {
        self.lines.on_record(id, fields, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.lines.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.lines.on_close(id, context);
    }
}

/// Masks secrets. Each line is written in a single call.
struct Masked<W>(W);

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.0.write_all(mask::mask(text).as_bytes())?,
            Err(_) => self.0.write_all(mask::mask(&String::from_utf8_lossy(bytes)).as_bytes())?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Masks secrets in panic messages of task functions.
fn mask_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match mask::masker() {
        None => usual(panic),
        Some(masker) => {
            let thread = std::thread::current();
            eprintln!("thread `{}` {}", thread.name().unwrap_or("unnamed"), masker.mask(&panic.to_string()));
        }
    }));
}

fn is_worth_capturing(line: &Metadata<'_>) -> bool {
    match *line.level() {
        Level::ERROR | Level::WARN | Level::INFO => true,
        Level::DEBUG => !TOO_CHATTY.iter().any(|chatty| line.target().starts_with(chatty)),
        Level::TRACE => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);

    impl Write for CapturedLog {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_line_is_lost_after_a_library_asked_whether_its_own_is_wanted() {
        let said = CapturedLog::default();
        let writer = said.clone();
        let lines = fmt::layer().with_writer(move || writer.clone()).without_time().with_ansi(false).boxed();
        let filter: Targets = "info,loud=debug".parse().unwrap();
        let logs = Logs { filter, lines, captured: orch_workers::capture_layer() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || {
            for time in 0..3 {
                assert!(!tracing::enabled!(target: "sqlx::query", Level::DEBUG));
                tracing::error!(target: "orch", time, "failed");
                tracing::debug!(target: "sqlx::query", time, "asked");
                tracing::debug!(target: "loud", time, "told");
                tracing::debug!(target: "orch", time, "quiet");
            }
        });
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let expected = (0..3).map(|time| format!("ERROR orch: failed time={time}\nDEBUG loud: told time={time}\n"));
        assert_eq!(said, expected.collect::<String>());
    }
}
