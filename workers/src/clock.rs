//! The clock of this machine, for what the database's clock does not decide.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the one place where the worker reads a clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
