//! The clock of this machine, for what no server is asked: the database's rules wherever there is one.

use chrono::{DateTime, Utc};

#[expect(clippy::disallowed_methods, reason = "the one place where the commands read a clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
