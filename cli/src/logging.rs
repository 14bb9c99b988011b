//! What server processes say about themselves: to standard error, as people or machines like it. What bodies of tasks
//! say goes to the log of their attempt, whatever level is asked for here.

use crate::config::{Config, LogFormat, environment_is_plain};
use crate::failure::Failure;
use std::io::IsTerminal as _;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// Libraries below the bodies: their debug lines are nobody's log.
const TOO_CHATTY: [&str; 6] = ["sqlx", "hyper", "tokio", "tower", "rustls", "mio"];

/// Begins to log. Once in a process.
pub(crate) fn start(config: &Config) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(format!("log `{}` is not understood: {error}", config.log))
            .hint("write a level (error, warn, info, debug, trace) or `target=level,…`")
    };
    let filter = EnvFilter::builder().parse(&config.log).map_err(|error| wrong(&error))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => {
            let is_coloured = std::io::stderr().is_terminal() && !environment_is_plain();
            lines.with_ansi(is_coloured).with_target(false).boxed()
        }
    };
    let captured = orch_workers::capture_layer().with_filter(filter_fn(is_worth_capturing));
    let started = tracing_subscriber::registry().with(lines.with_filter(filter)).with(captured).try_init();
    started.map_err(|error| Failure::new(format!("cannot log: {error}")))
}

fn is_worth_capturing(line: &Metadata<'_>) -> bool {
    match *line.level() {
        Level::ERROR | Level::WARN | Level::INFO => true,
        Level::DEBUG => !TOO_CHATTY.iter().any(|chatty| line.target().starts_with(chatty)),
        Level::TRACE => false,
    }
}
