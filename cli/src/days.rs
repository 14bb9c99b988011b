//! Days of a DAG: a date without a time means the whole day in the time zone of the DAG's schedule.

use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use orch_binary::failure::Failure;
use orch_binary::names::WrittenDate;
use orch_core::backfill::{BackfillRequest, Dates, Reprocess, dates};
use orch_spec::schedule::parse_timezone;
use orch_spec::{DagSpec, Schedule};

/// Returns the instants of the first and the last date of a range. Both dates are included, so a last date without a time ends one
/// millisecond before the next day.
pub(crate) fn range(spec: &DagSpec, from: WrittenDate, to: WrittenDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let first = match from {
        WrittenDate::At(at) => at,
        WrittenDate::Day(day) => span(spec, day).0,
    };
    let last = match to {
        WrittenDate::At(at) => at,
        WrittenDate::Day(day) => span(spec, day).1,
    };
    (first, last)
}

/// Returns the logical dates for dates of the command line. A day selects every tick of the schedule on that day that
/// has ended by `now`. For a DAG without a schedule it selects midnight.
pub(crate) fn each(spec: &DagSpec, written: &[WrittenDate], now: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>, Failure> {
    let mut found = Vec::new();
    for date in written {
        match *date {
            WrittenDate::At(at) => found.push(at),
            WrittenDate::Day(day) => {
                let (from, to) = span(spec, day);
                if !has_ticks(spec) || from >= now {
                    found.push(from);
                    continue;
                }
                let ticks = ticks(spec, from, to, now)?;
                if ticks.is_empty() {
                    return Err(Failure::new(format!(
                        "the schedule of dag `{}` has no run on {day} that is over",
                        spec.dag_id
                    ))
                    .hint(format!("`orch dags next-execution {}` lists its next runs", spec.dag_id)));
                }
                found.extend(ticks);
            }
        }
    }
    Ok(found)
}

fn ticks(
    spec: &DagSpec,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<DateTime<Utc>>, Failure> {
    // `Completed` is valid for every DAG. A later step decides what is done for each date.
    let request = BackfillRequest {
        dates: Dates::Range { from, to, step: None },
        reprocess: Reprocess::Completed,
        backwards: false,
    };
    let found = dates(spec, &request, now).map_err(|error| Failure::from_error(&error))?;
    Ok(found.into_iter().map(|date| date.logical_date).collect())
}

/// Returns true if the schedule of a DAG has dates.
pub(crate) fn has_ticks(spec: &DagSpec) -> bool {
    matches!(spec.schedule.time(), Schedule::Cron { .. } | Schedule::EveryMs(_))
}

/// Returns the first and the last millisecond of a day in the time zone of the schedule.
fn span(spec: &DagSpec, day: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let zone = match spec.schedule.time() {
        Schedule::Cron { timezone, .. } => parse_timezone(timezone).unwrap_or(Tz::UTC),
        _ => Tz::UTC,
    };
    let next = day.succ_opt().unwrap_or(day);
    (midnight(zone, day), midnight(zone, next) - TimeDelta::milliseconds(1))
}

/// Returns the first instant of a day. In some zones, daylight saving time skips midnight.
fn midnight(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let start = day.and_time(chrono::NaiveTime::MIN);
    let mut quarters = (0..=12).map(|quarter| start + TimeDelta::minutes(15 * quarter));
    let first = quarters.find_map(|at| zone.from_local_datetime(&at).earliest());
    first.map_or_else(|| start.and_utc(), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(expression: &str) -> DagSpec {
        serde_json::from_value(json!({ "dag_id": "d", "timetable": "trigger",
            "schedule": { "cron": { "expression": expression, "timezone": "Europe/Berlin" } },
            "tasks": [{ "task_id": "t", "kind": "rust" }] }))
        .expect("a spec")
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a timestamp")
    }

    fn day(text: &str) -> WrittenDate {
        WrittenDate::Day(text.parse().expect("a day"))
    }

    #[test]
    fn a_day_means_all_its_ticks_in_the_time_zone_of_the_dag() {
        let now = at("2026-12-01T00:00:00Z");
        let found = each(&spec("30 6 * * *"), &[day("2026-11-03")], now).expect("a tick");
        assert_eq!(found, [at("2026-11-03T05:30:00Z")]);
        let hours = each(&spec("0 * * * *"), &[day("2026-11-03")], now).expect("ticks");
        let (first, last) = (at("2026-11-02T23:00:00Z"), at("2026-11-03T22:00:00Z"));
        assert_eq!((hours.len(), hours.first(), hours.last()), (24, Some(&first), Some(&last)));
        let failure = each(&spec("0 6 1 * *"), &[day("2026-11-03")], now).expect_err("no tick");
        assert!(format!("{failure:?}").contains("has no run on 2026-11-03"), "{failure:?}");
    }

    #[test]
    fn both_days_of_a_range_are_whole() {
        let (from, to) = range(&spec("30 6 * * *"), day("2026-11-01"), day("2026-11-07"));
        assert_eq!((from, to), (at("2026-10-31T23:00:00Z"), at("2026-11-07T22:59:59.999Z")));
        let exact = WrittenDate::At(at("2026-11-07T06:00:00Z"));
        assert_eq!(range(&spec("30 6 * * *"), exact, exact), (at("2026-11-07T06:00:00Z"), at("2026-11-07T06:00:00Z")));
    }

    #[test]
    fn a_dag_without_a_schedule_gets_one_run_for_a_day() {
        let spec: DagSpec = serde_json::from_value(json!({ "dag_id": "d", "schedule": "manual",
            "tasks": [{ "task_id": "t", "kind": "rust" }] }))
        .expect("a spec");
        let found = each(&spec, &[day("2026-11-03")], at("2026-12-01T00:00:00Z")).expect("midnight");
        assert_eq!(found, [at("2026-11-03T00:00:00Z")]);
    }
}
