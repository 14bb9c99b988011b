//! The clock of this machine, for decisions that do not depend on the database clock.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the one place where the worker reads a clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
