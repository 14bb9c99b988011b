//! Decides when runs are created: cron, intervals, and the timetables that turn ticks into runs.
//!
//! Pure: the time is an argument. `CronExpr` is the expression as sets, `next_after` applies it to a time zone, and
//! `Calendar` returns the next run. Tests compare all results with Airflow's (`tests/oracle/schedule`).

mod calendar;
mod cron;
mod date;
mod run_id;
mod wall;
mod zone;

pub use calendar::{Bounds, Calendar, DataInterval, NextRun};
pub use cron::{CronError, CronExpr};
pub use date::parse_date;
pub use run_id::{isoformat, run_id, run_type_of};
pub use wall::{next_after, next_from, previous_before, previous_until};
pub use zone::{UnknownTimezone, parse_timezone};

use crate::{AssetCondition, Schedule};
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;

/// Maximum number of characters for listing assets by name.
const MOST_OF_ASSETS: usize = 80;

/// Returns true for the years 1 to 9999. Postgres can store these dates, and some years can be added to them.
pub fn is_near(date: DateTime<Utc>) -> bool {
    (1..=9_999).contains(&date.year())
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error(transparent)]
    Cron(#[from] CronError),
    #[error(transparent)]
    Timezone(#[from] UnknownTimezone),
    #[error("an interval of {0} ms is not between 1 ms and ten years")]
    Interval(u64),
}

impl Schedule {
    /// Parses `@once`, `@continuous`, a preset or a cron expression, and checks the time zone.
    pub fn parse(text: &str, timezone: &str) -> Result<Schedule, ScheduleError> {
        match text.trim() {
            "@once" => Ok(Schedule::Once),
            "@continuous" => Ok(Schedule::Continuous),
            expression => {
                CronExpr::parse(expression)?;
                parse_timezone(timezone)?;
                Ok(Schedule::Cron { expression: expression.into(), timezone: timezone.into() })
            }
        }
    }

    /// Describes the schedule, for example `at 02:00 every day (Europe/Berlin)`.
    pub fn describe(&self) -> String {
        match self {
            Schedule::Manual => "only by hand".into(),
            Schedule::Once => "once, as soon as possible".into(),
            Schedule::Continuous => "as often as possible, one run at a time".into(),
            Schedule::Assets(assets) => format!("when updated: {}", in_short(assets)),
            Schedule::AssetPartitions(assets) => format!("for each partition, when updated: {}", in_short(assets)),
            Schedule::AssetsOrTime { assets, time } => {
                format!("{}, or when updated: {}", time.describe(), in_short(assets))
            }
            Schedule::EveryMs(ms) => format!("every {}", duration(*ms)),
            Schedule::Cron { expression, timezone } => match CronExpr::parse(expression) {
                Ok(expr) if !expr.ever_fires() => format!("never: `{expression}` names no date"),
                Ok(expr) => format!("{} ({timezone})", expr.describe()),
                Err(_) => format!("{expression} ({timezone})"),
            },
        }
    }
}

/// Returns the names of the assets, or only their number if the names do not fit into a line of a list.
fn in_short(assets: &AssetCondition) -> String {
    let (whole, many) = (assets.to_string(), assets.leaves().len());
    match assets {
        _ if many <= 2 || whole.chars().count() <= MOST_OF_ASSETS => whole,
        AssetCondition::All(parts) if parts.len() == many => format!("all of {many} assets"),
        AssetCondition::Any(parts) if parts.len() == many => format!("any of {many} assets"),
        _ => format!("{many} assets"),
    }
}

/// Returns every tick after `after`.
pub fn ticks(expr: &CronExpr, tz: Tz, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
    std::iter::successors(next_after(expr, tz, after), move |tick| next_after(expr, tz, *tick))
}

/// Formats a duration in the largest unit that divides it.
fn duration(ms: u64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "ms")];
    let (size, unit) = units.into_iter().find(|(size, _)| ms >= *size && ms.is_multiple_of(*size)).unwrap_or((1, "ms"));
    match (ms / size, unit) {
        (1, "ms") => "ms".into(),
        (1, unit) => unit.into(),
        (count, "ms") => format!("{count} ms"),
        (count, unit) => format!("{count} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asset, Timetable};

    #[test]
    fn a_written_schedule_is_checked_with_its_zone() {
        assert_eq!(Schedule::parse("@once", "UTC"), Ok(Schedule::Once));
        assert_eq!(Schedule::parse("@continuous", "UTC"), Ok(Schedule::Continuous));
        let daily = Schedule::parse("@daily", "Europe/Berlin").expect("both are known");
        assert_eq!(daily.describe(), "at 00:00 every day (Europe/Berlin)");
        assert!(matches!(Schedule::parse("@dayly", "UTC"), Err(ScheduleError::Cron(_))));
        assert!(matches!(Schedule::parse("@daily", "Europe/Berln"), Err(ScheduleError::Timezone(_))));
    }

    #[test]
    fn many_assets_are_counted_few_are_named() {
        let assets =
            |names: &[&str]| names.iter().map(|name| Asset::new(format!("x://{name}")).named(name)).collect::<Vec<_>>();
        let words = |condition: AssetCondition| Schedule::Assets(condition).describe();
        let few = assets(&["orders", "prices", "rates"]);
        assert_eq!(words(AssetCondition::all(few)), "when updated: orders and prices and rates");
        let long: Vec<String> = (0..6).map(|n| format!("extracted table {n}")).collect();
        let long = assets(&long.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(words(AssetCondition::all(long.clone())), "when updated: all of 6 assets");
        assert_eq!(words(AssetCondition::any(long.clone())), "when updated: any of 6 assets");
        let mixed = AssetCondition::any(long).and(Asset::new("x://rates"));
        assert_eq!(words(mixed), "when updated: 7 assets");
    }

    #[test]
    fn intervals_have_a_length() {
        for (ms, text) in
            [(1, "every ms"), (90_000, "every 90 seconds"), (3_600_000, "every hour"), (1_500, "every 1500 ms")]
        {
            assert!(Calendar::new(&Schedule::EveryMs(ms), Timetable::Trigger).is_ok());
            assert_eq!(Schedule::EveryMs(ms).describe(), text);
        }
        for ms in [0, u64::MAX] {
            let refused = Calendar::new(&Schedule::EveryMs(ms), Timetable::Trigger);
            assert_eq!(refused, Err(ScheduleError::Interval(ms)));
        }
    }

    #[test]
    fn a_schedule_that_never_fires_has_no_next_run() {
        let never = Schedule::parse("0 0 30 2 *", "UTC").expect("valid, if useless");
        assert_eq!(never.describe(), "never: `0 0 30 2 *` names no date");
        let bounds = |catchup| Bounds { start: Some(DateTime::UNIX_EPOCH), end: None, catchup };
        for timetable in [Timetable::Trigger, Timetable::DataInterval] {
            let calendar = Calendar::new(&never, timetable).expect("valid, if useless");
            for catchup in [true, false] {
                assert_eq!(calendar.next_run(None, &bounds(catchup), DateTime::UNIX_EPOCH), None);
            }
            assert_eq!(Calendar::new(&Schedule::Manual, timetable).map(|c| c.is_timed()), Ok(false));
        }
    }

    #[test]
    fn a_week_of_silence_is_made_up_for_by_all_runs_or_by_the_latest() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a date");
        let calendar =
            Calendar::new(&Schedule::parse("@daily", "UTC").expect("known"), Timetable::Trigger).expect("known");
        let (start, now) = (Some(at("2026-03-01T00:00:00Z")), at("2026-03-08T12:00:00Z"));
        let last = Some(DataInterval::exact(at("2026-03-01T00:00:00Z")));
        let due = |catchup| {
            let bounds = Bounds { start, end: None, catchup };
            calendar.upcoming(last, bounds, now).take_while(|run| run.run_after <= now).collect::<Vec<_>>()
        };
        assert_eq!(due(true).len(), 7);
        assert_eq!(due(false).iter().map(|run| run.run_after).collect::<Vec<_>>(), [at("2026-03-08T00:00:00Z")]);
    }
}
