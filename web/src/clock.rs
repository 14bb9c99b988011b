//! The time by which tokens expire and failed logins are forgotten: this host's, or one that a test moves.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// How far a test has moved it on, in milliseconds.
    ahead: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Clock {
        Clock::default()
    }

    /// Starts at this host's time and can be moved on.
    pub fn movable() -> Clock {
        Clock { ahead: Some(Arc::default()) }
    }

    /// Moves a movable clock on; any other stays as it is.
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
