//! The conditions that every worker knows, as data: what a task says when it waits, and what whoever looks reads.
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

/// Something to wait for.
pub trait Wait: Sized {
    fn awaited(self) -> Awaited;

    /// It is waited for so long; without this for ever.
    fn timeout(self, limit: Duration) -> Deferral {
        Deferral::from(self.awaited()).timeout(limit)
    }

    /// So long between two looks.
    fn poke_every(self, pause: Duration) -> Deferral {
        Deferral::from(self.awaited()).poke_every(pause)
    }

    /// When it does not come in time the task is skipped, not failed.
    fn soft_fail(self) -> Deferral {
        Deferral::from(self.awaited()).soft_fail()
    }

    /// When it does not come in time the body is called all the same.
    fn resume_on_timeout(self) -> Deferral {
        Deferral::from(self.awaited()).resume_on_timeout()
    }

    /// Given back to the next call of the body.
    fn carry(self, what: impl Serialize) -> Deferral {
        Deferral::from(self.awaited()).carry(what)
    }
}

impl Wait for Awaited {
    fn awaited(self) -> Awaited {
        self
    }
}

/// A condition of a kind that a bundle brings.
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

/// The same with times that no longer depend on when it is asked: inside conditions that are made of others.
///
/// # Errors
/// A time that is none.
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

/// A config as its type.
///
/// # Errors
/// What does not fit, in words.
pub fn read<T: serde::de::DeserializeOwned>(config: &Value) -> Result<T, String> {
    T::deserialize(config).map_err(|error| format!("its config cannot be read: {error}"))
}
