//! The clock of this machine, for commands that use no database. Otherwise the time of the database is used.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the one place where the commands read a clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
