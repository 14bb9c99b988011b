//! The built-in conditions, as data: written by waiting tasks and read by the worker that polls.
//!
//! ```
//! use orch_sdk::wait::{self, Wait};
//! use std::time::Duration;
//!
//! let soon = wait::file("/in/orders-*.csv").min_age(Duration::from_secs(30)).timeout(Duration::from_secs(7_200));
//! assert_eq!(soon.until.kind, "file");
//! ```

mod file;
mod http;
mod runs;
mod several;
mod sql;
mod time;

pub use file::{FileWait, file};
pub use http::{HttpWait, http, url};
pub use runs::{RunSelector, RunWait, dag, run, task};
pub use several::{all, any, several};
pub use sql::{SqlWait, is_truthy, sql};
pub use time::{TimeWait, Wake, after, at, time_of_day, wake};

use crate::task::{Awaited, Deferral};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// A condition that a task can wait for.
pub trait Wait: Sized {
    fn awaited(self) -> Awaited;

    /// Limits the wait. Without a timeout, the task waits forever.
    fn timeout(self, limit: Duration) -> Deferral {
        Deferral::from(self.awaited()).timeout(limit)
    }

    /// Sets the poll interval.
    fn poke_every(self, pause: Duration) -> Deferral {
        Deferral::from(self.awaited()).poke_every(pause)
    }

    /// Skips the task if the wait times out, instead of failing it.
    fn soft_fail(self) -> Deferral {
        Deferral::from(self.awaited()).soft_fail()
    }

    /// Calls the task function even if the wait times out.
    fn resume_on_timeout(self) -> Deferral {
        Deferral::from(self.awaited()).resume_on_timeout()
    }

    /// Passes data to the next call of the task function.
    fn carry(self, what: impl Serialize) -> Deferral {
        Deferral::from(self.awaited()).carry(what)
    }
}

impl Wait for Awaited {
    fn awaited(self) -> Awaited {
        self
    }
}

/// Returns a condition of a kind that a bundle provides.
pub fn custom(kind: &str, config: impl Serialize) -> Awaited {
    Awaited::new(kind, config)
}

macro_rules! kinds {
    ($($config:ty => $kind:literal;)+) => {$(
        impl $config {
            pub const KIND: &'static str = $kind;
        }
        impl Wait for $config {
            fn awaited(self) -> Awaited {
                Awaited::new(Self::KIND, self)
            }
        }
        impl From<$config> for Deferral {
            fn from(wait: $config) -> Deferral {
                Deferral::from(wait.awaited())
            }
        }
        impl From<$config> for Awaited {
            fn from(wait: $config) -> Awaited {
                wait.awaited()
            }
        }
    )+};
}

kinds! {
    TimeWait => "time";
    FileWait => "file";
    SqlWait => "sql";
    HttpWait => "http";
    RunWait => "run";
}

/// Returns the condition with absolute times, also inside conditions that combine others: a relative time counts from
/// `now`, the start of the wait.
///
/// # Errors
/// Returns an error if a time or a config is invalid.
pub fn settle(awaited: &Awaited, now: DateTime<Utc>) -> Result<Awaited, String> {
    let mut settled = awaited.clone();
    match awaited.kind.as_str() {
        TimeWait::KIND => {
            let time: TimeWait = read(&awaited.config)?;
            settled.config = Awaited::new(TimeWait::KIND, TimeWait::At(time.moment(now)?)).config;
        }
        several::ANY | several::ALL => {
            let of = several(&awaited.config)?;
            let of = of.iter().map(|one| settle(one, now)).collect::<Result<Vec<_>, _>>()?;
            settled.config = several::config(&of);
        }
        _ => {}
    }
    Ok(settled)
}

/// Parses a config.
///
/// # Errors
/// Returns a message if the config does not fit the type.
pub fn read<T: serde::de::DeserializeOwned>(config: &Value) -> Result<T, String> {
    T::deserialize(config).map_err(|error| format!("its config cannot be read: {error}"))
}
