//! Computes the next run: Airflow 3.3's timetables as one pure function of the last run, the bounds and the current
//! time.
//!
//! Callers are the scheduler after it has created a run (it stores the result, so that schedulers agree on it), the UI
//! and
//! `orch dags next-execution`. A run in the past is due immediately.

use super::{ScheduleError, cron::CronExpr, wall, zone::parse_timezone};
use crate::check::MAX_DURATION_MS;
use crate::state::RunType;
use crate::{DagSpec, Schedule, Timetable};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Maximum age of a past tick at which a DAG without a start date has its first run, as in Airflow …
const LATE_START: TimeDelta = TimeDelta::minutes(5);
/// … or a tenth of the time between two ticks, whichever is longer.
const LATE_START_PART: i32 = 10;

/// Time range that a run covers. It is empty (`start == end`) with the trigger timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataInterval {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl DataInterval {
    pub fn exact(at: DateTime<Utc>) -> Self {
        DataInterval { start: at, end: at }
    }
}

/// Time range in which a schedule creates runs, both ends inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    /// True to create every missed run, false to create only the latest.
    pub catchup: bool,
}

impl Bounds {
    fn allow(&self, at: DateTime<Utc>) -> bool {
        self.end.is_none_or(|end| at <= end)
    }
}

impl From<&DagSpec> for Bounds {
    fn from(spec: &DagSpec) -> Self {
        Bounds { start: spec.start, end: spec.end, catchup: spec.catchup }
    }
}

/// A run to create at or after `run_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRun {
    pub run_after: DateTime<Utc>,
    pub logical_date: Option<DateTime<Utc>>,
    pub data_interval: Option<DataInterval>,
    pub run_type: RunType,
}

impl NextRun {
    fn over(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        NextRun {
            run_after: end,
            logical_date: Some(start),
            data_interval: Some(DataInterval { start, end }),
            run_type: RunType::Scheduled,
        }
    }

    fn at(at: DateTime<Utc>) -> Self {
        NextRun::over(at, at)
    }
}

/// A validated schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    rule: Rule,
    timetable: Timetable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Manual, or triggered by assets.
    Never,
    Once,
    Continuous,
    Ticks(Ticks),
}

/// Times at which a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ticks {
    Cron(CronExpr, Tz),
    /// Fixed interval, counted from the last tick and not from a grid.
    Every(TimeDelta),
}

impl Calendar {
    pub fn new(schedule: &Schedule, timetable: Timetable) -> Result<Calendar, ScheduleError> {
        let rule = match schedule.time() {
            Schedule::Manual | Schedule::Assets(_) | Schedule::AssetPartitions(_) | Schedule::AssetsOrTime { .. } => {
                Rule::Never
            }
            Schedule::Once => Rule::Once,
            Schedule::Continuous => Rule::Continuous,
            Schedule::Cron { expression, timezone } => {
                Rule::Ticks(Ticks::Cron(CronExpr::parse(expression)?, parse_timezone(timezone)?))
            }
            Schedule::EveryMs(ms @ 1..=MAX_DURATION_MS) => {
                Rule::Ticks(Ticks::Every(TimeDelta::milliseconds(*ms as i64)))
            }
            Schedule::EveryMs(ms) => return Err(ScheduleError::Interval(*ms)),
        };
        Ok(Calendar { rule, timetable })
    }

    /// Returns the run after the last automated one (`last` is its data interval). `None` if time creates no further
    /// run.
    ///
    /// `now` determines which runs are missed without `catchup`, and when a continuous schedule continues.
    pub fn next_run(&self, last: Option<DataInterval>, bounds: &Bounds, now: DateTime<Utc>) -> Option<NextRun> {
        let run = match (&self.rule, self.timetable) {
            (Rule::Never, _) => return None,
            (Rule::Once, _) if last.is_some() => return None,
            (Rule::Once, _) => NextRun::at(bounds.start.unwrap_or(now)),
            (Rule::Continuous, _) => continuous(last, bounds, now),
            (Rule::Ticks(ticks), Timetable::Trigger) => NextRun::at(ticks.next_trigger(last, bounds, now)?),
            (Rule::Ticks(ticks), Timetable::DataInterval) => {
                let start = ticks.next_interval_start(last, bounds, now)?;
                // The end date limits the start of the data interval, not the time of the run.
                return bounds.allow(start).then(|| ticks.next(start).map(|end| NextRun::over(start, end))).flatten();
            }
        };
        bounds.allow(run.run_after).then_some(run)
    }

    /// Returns the data interval of a manual run. `None`: the schedule never fires.
    pub fn manual_interval(&self, run_after: DateTime<Utc>) -> Option<DataInterval> {
        match (&self.rule, self.timetable) {
            (Rule::Ticks(ticks), Timetable::DataInterval) => {
                let end = ticks.align_back(run_after)?;
                Some(DataInterval { start: ticks.previous(end)?, end })
            }
            _ => Some(DataInterval::exact(run_after)),
        }
    }

    /// Returns the next runs, as if each were created when it is due. For a continuous schedule it is only the next
    /// one.
    pub fn upcoming(
        &self,
        last: Option<DataInterval>,
        bounds: Bounds,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = NextRun> + '_ {
        let first = self.next_run(last, &bounds, now);
        std::iter::successors(first, move |run| match self.rule {
            Rule::Continuous => None,
            _ => self.next_run(run.data_interval, &bounds, now),
        })
    }

    /// Returns the maximum number of concurrent runs that the schedule implies.
    pub fn active_runs_limit(&self) -> Option<u32> {
        (self.rule == Rule::Continuous).then_some(1)
    }

    /// Returns true if the schedule creates runs by time.
    pub fn is_timed(&self) -> bool {
        self.rule != Rule::Never
    }
}

/// Returns the next run of a continuous schedule, from the end of the previous run until now. The caller must wait
/// until the previous run has finished.
fn continuous(last: Option<DataInterval>, bounds: &Bounds, now: DateTime<Utc>) -> NextRun {
    let start = bounds.start.unwrap_or(now);
    let Some(last) = last else { return NextRun::over(start, start.max(now)) };
    if last.end > now {
        return NextRun::over(start, start + (last.end - last.start));
    }
    // After an empty interval, Airflow would use the logical date of the last run again and stop permanently.
    if last.end <= last.start { NextRun::at(now) } else { NextRun::over(last.end, now) }
}

impl Ticks {
    fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Ticks::Cron(expr, tz) => wall::next_after(expr, *tz, after),
            Ticks::Every(delta) => after.checked_add_signed(*delta),
        }
    }

    fn previous(&self, before: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Ticks::Cron(expr, tz) => wall::previous_before(expr, *tz, before),
            Ticks::Every(delta) => before.checked_sub_signed(*delta),
        }
    }

    fn align(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Ticks::Cron(expr, tz) => wall::next_from(expr, *tz, from),
            Ticks::Every(_) => Some(from),
        }
    }

    fn align_back(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Ticks::Cron(expr, tz) => wall::previous_until(expr, *tz, until),
            Ticks::Every(_) => Some(until),
        }
    }

    fn next_trigger(&self, last: Option<DataInterval>, bounds: &Bounds, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let following = match (last, bounds.start) {
            (Some(last), _) => self.next(last.end)?,
            (None, Some(start)) => self.align(start)?,
            (None, None) => self.first_trigger(now)?,
        };
        if bounds.catchup {
            return Some(following);
        }
        let start = bounds.start.map_or(Some(following), |start| self.align(start))?;
        // If the expression has no tick in the 50 years before now, use the following one.
        Some(self.align_back(now).map_or(following, |latest| latest.max(following)).max(start))
    }

    /// Returns the first tick of a DAG without a start date: the tick that was just missed, otherwise the next one.
    fn first_trigger(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let next = self.align(now)?;
        let Some(past) = self.align_back(now) else { return Some(next) };
        let late_start = LATE_START.max((next - past) / LATE_START_PART);
        Some(if now - past <= late_start { past } else { next })
    }

    /// Returns the start of the next data interval.
    fn next_interval_start(
        &self,
        last: Option<DataInterval>,
        bounds: &Bounds,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let earliest = if bounds.catchup {
            bounds.start.map_or(Some(None), |start| self.align(start).map(Some))?
        } else {
            Some(self.latest_interval_start(bounds.start, now)?)
        };
        let Some(last) = last else { return earliest };
        // The schedule may have changed since that run.
        let start = self.align_back(last.end)?.max(earliest.unwrap_or(DateTime::<Utc>::MIN_UTC));
        if start > last.start { Some(start) } else { self.next(start.max(last.start)) }
    }

    /// Returns the start of the latest finished interval, but not before the start date.
    fn latest_interval_start(&self, start: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let latest = match self {
            Ticks::Cron(..) => self.previous(self.align_back(now)?)?,
            Ticks::Every(delta) => {
                // Counted from 1970, so that a paused DAG returns to the same grid.
                let (since, period) = (now.timestamp_micros(), delta.num_microseconds()?);
                DateTime::from_timestamp_micros(since - since.rem_euclid(period))?.checked_sub_signed(*delta)?
            }
        };
        match start {
            Some(start) => Some(latest.max(self.align(start)?)),
            None => Some(latest),
        }
    }
}
