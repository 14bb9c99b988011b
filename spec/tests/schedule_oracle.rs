//! Compares schedules with the results of Airflow 3.3.2 (`tests/oracle/schedule/record.py`).
//!
//! A difference is either a bug or listed here with its reason. A listed difference that no longer exists fails the
//! test too.

#![expect(clippy::unwrap_used, reason = "the tables are committed: a row of another shape is a broken test")]

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use orch_spec::schedule::{
    Bounds, Calendar, CronExpr, DataInterval, next_after, next_from, parse_timezone, previous_before, run_id,
    run_type_of,
};
use orch_spec::{Schedule, Timetable};
use serde_json::{Value, json};
use std::iter::successors;

/// Airflow continues in UTC from the last tick if the hour field is `*`. If days without a run are in between, or if
/// the clock changes by a fraction of an hour, it fires at times outside the expression (on a Sunday at 23:00 for
/// Mondays, at 03:30 for `0 * * * *`) or omits a run. orch fires when the wall clock shows a time of the expression.
const OFF_THE_GRID: &str = "Airflow leaves the grid of the expression";

/// At such a change, Airflow's backward search does not invert its forward search: it stops there permanently, or the
/// data-interval timetable raises "did not advance" or leaves a gap between two intervals.
const BACKWARDS: &str = "Airflow's previous tick does not undo its next tick";

const OTHER_TICKS: &[(&str, &str, &str)] = &[
    ("0 * * * * Australia/Lord_Howe 2025-04", "ticks", OFF_THE_GRID),
    ("10,50 * * * * Australia/Lord_Howe 2025-04", "ticks", OFF_THE_GRID),
    ("0 * * * * America/Caracas 2016-05", "ticks", OFF_THE_GRID),
    ("0 * * * * Asia/Pyongyang 2015-08", "ticks", OFF_THE_GRID),
    ("10,50 * * * * Asia/Pyongyang 2015-08", "ticks", OFF_THE_GRID),
    ("0 * 1 * * Europe/Berlin 2025-03", "ticks", OFF_THE_GRID),
    ("0 * * 4,11 * Europe/Berlin 2025-03", "ticks", OFF_THE_GRID),
    ("0 * 1 * * Europe/Berlin 2025-10", "ticks", OFF_THE_GRID),
    ("0 * * 4,11 * Europe/Berlin 2025-10", "ticks", OFF_THE_GRID),
    ("0 2 * * 0 America/New_York 2026-10", "backwards", BACKWARDS),
    ("0 * * * * Australia/Lord_Howe 2025-10", "intervals", BACKWARDS),
    ("10,50 * * * * Australia/Lord_Howe 2025-10", "intervals", BACKWARDS),
    ("*/20 2 * * * Australia/Lord_Howe 2025-10", "intervals", BACKWARDS),
    ("0 * * * * Asia/Kathmandu 1985-12", "intervals", BACKWARDS),
    ("*/30 * * * * Asia/Kathmandu 1985-12", "intervals", BACKWARDS),
    ("10,50 * * * * Asia/Kathmandu 1985-12", "intervals", BACKWARDS),
    ("10,50 * * * * America/Caracas 2016-05", "intervals", BACKWARDS),
];

fn table(name: &str) -> Vec<Value> {
    let path = format!("{}/../tests/oracle/schedule/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn minute(value: &Value) -> DateTime<Utc> {
    DateTime::from_timestamp(value.as_i64().unwrap() * 60, 0).unwrap()
}

fn minutes(value: &Value) -> Vec<DateTime<Utc>> {
    value.as_array().unwrap().iter().map(minute).collect()
}

fn micros(value: &Value) -> Option<DateTime<Utc>> {
    value.as_i64().map(|at| DateTime::from_timestamp_micros(at).unwrap())
}

fn calendar(schedule: &Value, timetable: &Value) -> Calendar {
    let schedule = match schedule {
        Value::Number(ms) => Schedule::EveryMs(ms.as_u64().unwrap()),
        Value::String(word) => Schedule::parse(&format!("@{word}"), "UTC").unwrap(),
        pair => Schedule::parse(text(&pair[0]), text(&pair[1])).unwrap(),
    };
    Calendar::new(&schedule, serde_json::from_value(timetable.clone()).unwrap()).unwrap()
}

#[test]
fn ticks_are_airflows_in_every_zone_and_across_every_change_of_clocks() {
    let mut different = Vec::new();
    for row in table("ticks") {
        let (expr, tz, start) =
            (CronExpr::parse(text(&row[0])).unwrap(), parse_timezone(text(&row[1])).unwrap(), &row[2]);
        let start = minute(start);
        let name = format!("{expr} {tz} {}", start.format("%Y-%m"));
        let want = minutes(&row[3]);
        let got: Vec<_> =
            successors(next_from(&expr, tz, start), |at| next_after(&expr, tz, *at)).take(want.len()).collect();
        if got != want {
            different.push((name, "ticks"));
            continue;
        }
        let want = minutes(&row[5]);
        let got: Vec<_> =
            successors(got.last().copied(), |at| previous_before(&expr, tz, *at)).skip(1).take(want.len()).collect();
        if got != want {
            different.push((name.clone(), "backwards"));
        }
        if intervals(&expr, tz, start, row[4].as_array().unwrap().len()) != row[4] {
            different.push((name, "intervals"));
        }
    }
    let mut listed: Vec<_> = OTHER_TICKS.iter().map(|(name, what, _)| ((*name).to_owned(), *what)).collect();
    different.sort();
    listed.sort();
    assert_eq!(different, listed);
}

fn intervals(expr: &CronExpr, tz: Tz, start: DateTime<Utc>, count: usize) -> Value {
    let schedule = Schedule::Cron { expression: expr.to_string(), timezone: tz.to_string() };
    let calendar = Calendar::new(&schedule, Timetable::DataInterval).unwrap();
    let bounds = Bounds { start: Some(start), end: None, catchup: true };
    let runs = calendar.upcoming(None, bounds, start).take(count).map(|run| run.data_interval.unwrap());
    runs.map(|over| json!([over.start.timestamp() / 60, over.end.timestamp() / 60])).collect()
}

#[test]
fn expressions_mean_what_they_mean_to_airflow() {
    let (mut different, mut fails_in_airflow) = (Vec::new(), 0);
    let start: DateTime<Utc> = "2024-02-10T12:34:00Z".parse().unwrap();
    for row in table("expressions") {
        let got = match CronExpr::parse(text(&row[0])) {
            Err(_) => json!([row[0], null]),
            Ok(expr) => {
                let next = successors(next_after(&expr, Tz::UTC, start), |at| next_after(&expr, Tz::UTC, *at));
                let back =
                    successors(previous_before(&expr, Tz::UTC, start), |at| previous_before(&expr, Tz::UTC, *at));
                let next: Vec<_> = next.take(6).map(|at| at.timestamp() / 60).collect();
                let back: Vec<_> = back.take(3).map(|at| at.timestamp() / 60).collect();
                if next.is_empty() { json!([row[0], "never"]) } else { json!([row[0], next, back]) }
            }
        };
        // croniter first searches for days that match both the day of month and the occurrence in the month (`#`, `L5`)
        // or the nearest weekday (`W`), and fails if there are none. orch uses the occurrence alone.
        let weekday = text(&row[0]).split(' ').next_back().unwrap_or_default();
        let has_place = weekday.contains(['#', 'L']) || text(&row[0]).contains('W');
        if row[1] == "never" && has_place && got != row {
            fails_in_airflow += 1;
        } else if got != row {
            different.push(format!("{got} is {row}"));
        }
    }
    assert_eq!(different, Vec::<String>::new());
    assert_eq!(fails_in_airflow, 46);
}

#[test]
fn seconds_mean_what_they_mean_to_airflow() {
    let start: DateTime<Utc> = "2024-02-10T12:34:17Z".parse().unwrap();
    let mut different = Vec::new();
    for row in table("seconds") {
        let got = match CronExpr::parse(text(&row[0])) {
            Err(_) => json!([row[0], null, null]),
            Ok(expr) => {
                let next = successors(next_after(&expr, Tz::UTC, start), |at| next_after(&expr, Tz::UTC, *at));
                let back =
                    successors(previous_before(&expr, Tz::UTC, start), |at| previous_before(&expr, Tz::UTC, *at));
                let next: Vec<_> = next.take(8).map(|at| at.timestamp()).collect();
                json!([row[0], next, back.take(4).map(|at| at.timestamp()).collect::<Vec<_>>()])
            }
        };
        if got != row {
            different.push(format!("{got} is {row}"));
        }
    }
    assert_eq!(different, Vec::<String>::new());
}

#[test]
fn the_next_run_is_airflows_for_every_timetable_bound_and_moment() {
    let mut different = Vec::new();
    for row in table("sequences") {
        let calendar = calendar(&row[0], &row[1]);
        let bounds = Bounds { start: micros(&row[2]), end: micros(&row[3]), catchup: row[4].as_bool().unwrap() };
        let mut last = None;
        for (at, step) in row[5].as_array().unwrap().iter().enumerate() {
            let now = micros(&step[0]).unwrap();
            let run = calendar.next_run(last, &bounds, now);
            let over = |run: orch_spec::schedule::NextRun| {
                let over = run.data_interval.unwrap();
                assert_eq!(run.logical_date, Some(over.start));
                [now, run.run_after, over.start, over.end].map(|at| at.timestamp_micros()).to_vec()
            };
            let got = run.map_or_else(|| vec![now.timestamp_micros()], over);
            let mut want = step.clone();
            if row[0] == "continuous"
                && last.is_some_and(|last: DataInterval| last.start == last.end && last.end <= now)
            {
                // After an empty interval, Airflow uses the logical date of that run again, finds that the run already
                // exists and creates no other. orch continues from now.
                assert_eq!(step[2], json!(last.map(|last| last.start.timestamp_micros())));
                want[2].clone_from(&step[3]);
            }
            if json!(got) != want {
                different.push(format!("{} {} {bounds:?} step {at} after {last:?}: {got:?} is {step}", row[0], row[1]));
            }
            // Airflow's history continues regardless of our result.
            let [_, run_after, start, end] = [0, 1, 2, 3].map(|part| step.get(part).and_then(micros));
            if run_after.is_some_and(|run_after| run_after <= now) {
                last = Some(DataInterval { start: start.unwrap(), end: end.unwrap() });
            }
        }
    }
    assert_eq!(different, Vec::<String>::new());
}

#[test]
fn a_manual_run_covers_what_airflow_says() {
    for row in table("manual") {
        let over = calendar(&row[0], &row[1]).manual_interval(micros(&row[2]).unwrap()).unwrap();
        assert_eq!((Some(over.start), Some(over.end)), (micros(&row[3]), micros(&row[4])), "{row}");
    }
}

#[test]
fn run_ids_are_airflows() {
    for row in table("run_ids") {
        let run_type = text(&row[0]).parse().unwrap();
        assert_eq!(run_id(run_type, micros(&row[1]).unwrap(), micros(&row[2]), "u0FKjY9l"), text(&row[3]));
        assert_eq!(run_type_of(text(&row[3])), run_type);
    }
}
