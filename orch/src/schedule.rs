//! Words for schedules, assets and times.

use orch_core::spec::{Asset, Schedule};
use std::time::Duration;

/// What `.schedule(…)` takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no schedule",
    label = "not a schedule",
    note = "write `cron(\"0 2 * * *\")`, `\"@daily\"`, `every(mins(5))`, `once()`, `continuous()` or `on_assets([asset(\"…\")])`"
)]
pub trait IntoSchedule {
    #[doc(hidden)]
    fn into_schedule(self) -> Schedule;
}

#[diagnostic::do_not_recommend]
impl IntoSchedule for Schedule {
    fn into_schedule(self) -> Schedule {
        self
    }
}

/// As `cron(…)` in UTC; `@once` and `@continuous` are words too.
#[diagnostic::do_not_recommend]
impl IntoSchedule for &str {
    fn into_schedule(self) -> Schedule {
        match self {
            "@once" => once(),
            "@continuous" => continuous(),
            expression => cron(expression).into_schedule(),
        }
    }
}

/// A cron expression, still without or already with its timezone.
#[derive(Debug, Clone)]
#[must_use = "give it to `dag(…).schedule(…)`"]
pub struct Cron {
    expression: String,
    timezone: String,
}

/// A five-field cron expression or a preset such as `@hourly`; UTC until `.tz(…)`.
pub fn cron(expression: &str) -> Cron {
    Cron { expression: expression.into(), timezone: "UTC".into() }
}

impl Cron {
    /// The timezone whose wall clock counts: `Europe/Berlin`. Dates of the DAG without a zone are in it too.
    pub fn tz(mut self, zone: &str) -> Self {
        self.timezone = zone.into();
        self
    }
}

#[diagnostic::do_not_recommend]
impl IntoSchedule for Cron {
    fn into_schedule(self) -> Schedule {
        Schedule::Cron { expression: self.expression, timezone: self.timezone }
    }
}

/// A run each time so much time has passed.
pub fn every(interval: Duration) -> Schedule {
    Schedule::EveryMs(crate::options::whole_ms(interval))
}

/// One run, when the DAG is first seen.
pub fn once() -> Schedule {
    Schedule::Once
}

/// The next run starts when the last one ended.
pub fn continuous() -> Schedule {
    Schedule::Continuous
}

/// Runs when each of the assets has been updated.
pub fn on_assets(assets: impl IntoIterator<Item = Asset>) -> Schedule {
    Schedule::Assets(assets.into_iter().collect())
}

/// A named piece of data that tasks update and DAGs wait for.
pub fn asset(uri: &str) -> Asset {
    Asset { uri: uri.into() }
}

pub fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn mins(count: u64) -> Duration {
    secs(count.saturating_mul(60))
}

pub fn hours(count: u64) -> Duration {
    mins(count.saturating_mul(60))
}
