//! What server processes say about themselves: to standard error, as people or machines like it. What bodies of tasks
//! say goes to the log of their attempt, whatever level is asked for here.

use crate::config::{Config, LogFormat};
use crate::failure::Failure;
use crate::secrets;
use crate::style::environment_is_plain;
use orch_workers::mask;
use std::io::{IsTerminal as _, Write};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Libraries below the bodies: their debug lines are nobody's log.
const TOO_CHATTY: [&str; 7] = ["sqlx", "hyper", "tokio", "tower", "rustls", "mio", "apache_avro"];

/// What the database says beside its answers, such as that a schema is there already.
const NOTICES: &str = "sqlx::postgres::notice=warn";

/// Begins to log. Once in a process.
pub fn start(config: &Config) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(format!("log `{}` is not understood: {error}", config.log))
            .hint("write a level (error, warn, info, debug, trace) or `target=level,…`")
    };
    let filter = EnvFilter::builder().parse(&config.log).map_err(|error| wrong(&error))?;
    let filter = filter.add_directive(NOTICES.parse().map_err(|error| wrong(&error))?);
    let lines = fmt::layer().with_writer(|| Masked(std::io::stderr()));
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => {
            let is_coloured = std::io::stderr().is_terminal() && !environment_is_plain();
            lines.with_ansi(is_coloured).with_target(false).boxed()
        }
    };
    let captured = orch_workers::capture_layer().with_filter(filter_fn(is_worth_capturing));
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(captured).try_init();
    secrets::learn(config);
    mask_panics();
    started.map_err(|error| Failure::new(format!("cannot log: {error}")))
}

/// Takes out what is secret; a line comes in one piece.
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

/// A body that panics says so on standard error, with words that may be secret.
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
