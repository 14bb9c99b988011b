//! Everything that the server logs during the tests of this binary, at the finest level.

use std::io::Write;
use std::sync::{Mutex, Once, PoisonError};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn capture() {
    ONCE.call_once(|| {
        // The tests parse pages with `html5ever`, which logs each character.
        let targets = Targets::new().with_default(LevelFilter::TRACE).with_target("html5ever", LevelFilter::OFF);
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Lines);
        tracing_subscriber::registry().with(targets).with(lines).init();
    });
}

pub(crate) fn lines() -> String {
    String::from_utf8_lossy(&LINES.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}
