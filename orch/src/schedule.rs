//! Constructors of schedules, assets and durations.

use orch_spec::{Asset, AssetCondition, AssetRef, Schedule};
use std::time::Duration;

/// Arguments of `.schedule(…)`.
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

/// Like `cron(…)` in UTC. `@once` and `@continuous` are supported, too.
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

/// A cron expression and its timezone.
#[derive(Debug, Clone)]
#[must_use = "give it to `dag(…).schedule(…)`"]
pub struct Cron {
    expression: String,
    timezone: String,
}

/// Creates a schedule from a five-field cron expression or a preset such as `@hourly`. Uses UTC unless `.tz(…)` is
/// called.
pub fn cron(expression: &str) -> Cron {
    Cron { expression: expression.into(), timezone: "UTC".into() }
}

impl Cron {
    /// Sets the timezone, for example `Europe/Berlin`. Dates of the DAG without an offset use it, too.
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

/// Starts a run at this interval.
pub fn every(interval: Duration) -> Schedule {
    Schedule::EveryMs(crate::options::whole_ms(interval))
}

/// Starts one run, when the DAG is first seen.
pub fn once() -> Schedule {
    Schedule::Once
}

/// Starts the next run when the last one has finished.
pub fn continuous() -> Schedule {
    Schedule::Continuous
}

/// Starts a run when each of the assets has been updated.
pub fn on_assets(assets: impl IntoIterator<Item = impl Into<AssetCondition>>) -> Schedule {
    Schedule::Assets(AssetCondition::all(assets))
}

/// Starts runs by time and also when the condition holds: `asset_or_time(asset("a"), cron("0 2 * * *"))`.
pub fn asset_or_time(assets: impl Into<AssetCondition>, time: impl IntoSchedule) -> Schedule {
    Schedule::AssetsOrTime { assets: assets.into(), time: Box::new(time.into_schedule()) }
}

/// A named piece of data that tasks update and that triggers DAGs. Conditions combine several:
/// `asset("a").and(asset("b")).or(asset("c"))`, or with `&` and `|`.
pub fn asset(uri: &str) -> Asset {
    Asset::new(uri)
}

/// A name for assets that are known only at run time. A task names them with
/// `ctx.emit(AssetEvent::of(uri).through(name))`.
pub fn alias(name: &str) -> Alias {
    Alias(name.into())
}

/// A name for assets that are known only at run time.
#[derive(Debug, Clone)]
#[must_use = "name it as an outlet, an inlet or in a schedule"]
pub struct Alias(String);

impl Alias {
    /// Holds when both were updated.
    pub fn and(self, other: impl Into<AssetCondition>) -> AssetCondition {
        AssetCondition::from(self).and(other)
    }

    /// Holds when at least one of the two was updated.
    pub fn or(self, other: impl Into<AssetCondition>) -> AssetCondition {
        AssetCondition::from(self).or(other)
    }
}

impl From<Alias> for AssetCondition {
    fn from(Alias(name): Alias) -> Self {
        AssetCondition::Alias(name)
    }
}

impl From<Alias> for AssetRef {
    fn from(Alias(name): Alias) -> Self {
        AssetRef::Alias(name)
    }
}

/// Like `on_assets` with one asset.
#[diagnostic::do_not_recommend]
impl IntoSchedule for Asset {
    fn into_schedule(self) -> Schedule {
        Schedule::Assets(self.into())
    }
}

#[diagnostic::do_not_recommend]
impl IntoSchedule for Alias {
    fn into_schedule(self) -> Schedule {
        Schedule::Assets(self.into())
    }
}

#[diagnostic::do_not_recommend]
impl IntoSchedule for AssetCondition {
    fn into_schedule(self) -> Schedule {
        Schedule::Assets(self)
    }
}

/// Conditions that can have a run for each partition key.
pub trait ByPartition: Into<AssetCondition> {
    /// Starts a run for each partition key, once the condition holds for that key:
    /// `asset("a").and(asset("b")).by_partition()`.
    fn by_partition(self) -> Schedule {
        Schedule::AssetPartitions(self.into())
    }
}

impl<T: Into<AssetCondition>> ByPartition for T {}

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
