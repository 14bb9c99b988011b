//! The clock of this machine, used where the database clock is not required.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the one place where the worker reads a clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
