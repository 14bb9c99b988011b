//! Waiting for a time. Nothing is polled: the task wakes up at that time.

use super::read;
use crate::task::Awaited;
use chrono::{DateTime, NaiveTime, TimeDelta, Timelike, Utc};
use orch_spec::schedule::{CronExpr, is_near, next_after, parse_timezone, previous_until};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A point in time, in one of three forms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeWait {
    At(DateTime<Utc>),
    AfterMs(u64),
    /// Today at this time, such as `06:30`. The wait ends immediately if that has passed.
    TimeOfDay {
        time: String,
        zone: String,
    },
}

/// When to wake a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    At(DateTime<Utc>),
    /// Milliseconds from now by the clock of the database.
    InMs(u64),
}

/// Waits until a point in time. The wait ends immediately if that has passed.
pub fn at(moment: DateTime<Utc>) -> TimeWait {
    TimeWait::At(moment)
}

/// Waits for a duration.
pub fn after(pause: Duration) -> TimeWait {
    TimeWait::AfterMs(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
}

/// Waits until a time of today in a time zone, such as `06:30`, like Airflow's `TimeSensor`. The wait ends immediately
/// if that has passed. A time that a clock change skips is moved forward by the length of the gap; of two occurrences,
/// the second one counts.
pub fn time_of_day(time: &str, zone: &str) -> TimeWait {
    TimeWait::TimeOfDay { time: time.into(), zone: zone.into() }
}

impl TimeWait {
    /// Returns the point in time. Fails if the time or zone is invalid, or if the time is too far away.
    pub fn moment(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
        match self {
            TimeWait::At(moment) if is_near(*moment) => Ok(*moment),
            TimeWait::At(moment) => Err(format!("{moment} is no time to wait for: the years 1 to 9999 are")),
            TimeWait::AfterMs(ms) => {
                let later = i64::try_from(*ms).ok().and_then(TimeDelta::try_milliseconds);
                later.and_then(|pause| now.checked_add_signed(pause)).ok_or_else(|| format!("{ms} ms are too long"))
            }
            TimeWait::TimeOfDay { time, zone } => today_at(time, zone, now),
        }
    }
}

fn today_at(time: &str, zone: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let zone = parse_timezone(zone).map_err(|error| error.message())?;
    let wall = NaiveTime::parse_from_str(time, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(time, "%H:%M"));
    let wall = wall.map_err(|_| format!("`{time}` is no time of day: write for example `06:30`"))?;
    let seconds = TimeDelta::seconds(i64::from(wall.second()));
    let daily = CronExpr::parse(&format!("{} {} * * *", wall.minute(), wall.hour())).map_err(|e| e.to_string())?;
    let today = now.with_timezone(&zone).date_naive();
    let never = || format!("`{time}` never comes");
    match previous_until(&daily, zone, now).filter(|tick| tick.with_timezone(&zone).date_naive() == today) {
        Some(past) => Ok(past + seconds),
        None => next_after(&daily, zone, now).map(|tick| tick + seconds).ok_or_else(never),
    }
}

/// Returns when a wait for a time ends. `None` if it waits for something else.
///
/// # Errors
/// Returns an error if the time is invalid.
pub fn wake(awaited: &Awaited, now: DateTime<Utc>) -> Result<Option<Wake>, String> {
    if awaited.kind != TimeWait::KIND {
        return Ok(None);
    }
    match read(&awaited.config)? {
        TimeWait::AfterMs(ms) => Ok(Some(Wake::InMs(ms))),
        time => Ok(Some(Wake::At(time.moment(now)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(time: &str, zone: &str, now: &str, expected: &str) {
        let now: DateTime<Utc> = now.parse().expect("a date");
        let moment = time_of_day(time, zone).moment(now).expect("a time");
        assert_eq!(moment, expected.parse::<DateTime<Utc>>().expect("a date"), "{time} in {zone} at {now}");
    }

    #[test]
    fn a_time_of_day_is_todays() {
        check("06:30", "UTC", "2026-03-01T05:00:00Z", "2026-03-01T06:30:00Z");
        check("06:30", "UTC", "2026-03-01T06:30:00Z", "2026-03-01T06:30:00Z");
        check("06:30:15", "UTC", "2026-03-01T07:00:00Z", "2026-03-01T06:30:15Z");
        check("06:30", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T04:30:00Z");
        check("23:30", "Asia/Tokyo", "2026-07-01T14:00:00Z", "2026-07-01T14:30:00Z");
    }

    #[test]
    fn a_time_of_day_knows_when_clocks_change() {
        check("02:30", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:30:00Z");
        check("02:30", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T01:30:00Z");
    }

    #[test]
    fn what_is_no_time_is_told() {
        let now = DateTime::UNIX_EPOCH;
        assert!(at(DateTime::<Utc>::MIN_UTC).moment(now).is_err() && at(DateTime::<Utc>::MAX_UTC).moment(now).is_err());
        for (time, zone) in [("25:00", "UTC"), ("06:30", "Europe/Berln"), ("six", "UTC")] {
            assert!(time_of_day(time, zone).moment(now).is_err(), "{time} {zone}");
        }
        assert!(TimeWait::AfterMs(u64::MAX).moment(now).is_err());
    }

    #[test]
    fn only_times_wake_by_themselves() {
        use crate::wait::Wait;
        let now = DateTime::UNIX_EPOCH;
        assert_eq!(wake(&after(Duration::from_secs(3)).awaited(), now), Ok(Some(Wake::InMs(3_000))));
        assert_eq!(wake(&at(now).awaited(), now), Ok(Some(Wake::At(now))));
        assert_eq!(wake(&Awaited::new("file", "x"), now), Ok(None));
    }
}
