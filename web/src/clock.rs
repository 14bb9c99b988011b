//! The clock for the expiry of tokens and of failed logins: the time of this host, or a time that a test controls.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Clones share the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Offset by which a test has advanced the clock, in milliseconds.
    ahead: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Clock {
        Clock::default()
    }

    /// Returns a clock that starts at this host's time and that tests can advance.
    pub fn movable() -> Clock {
        Clock { ahead: Some(Arc::default()) }
    }

    /// Advances a clock from [`Clock::movable`]. Has no effect on other clocks.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(ahead) = &self.ahead {
            ahead.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock the rest of the crate asks")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.load(Ordering::SeqCst));
        Utc::now() + TimeDelta::milliseconds(ahead)
    }
}
