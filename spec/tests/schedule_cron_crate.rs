//! Compares our cron parser with crate `cron` on the expressions that mean the same to both.
//!
//! Left out, because crate `cron` rejects them or reads them differently: `L`, `W` and `#`, ranges that wrap
//! (`fri-mon`), equal ranges (`5-5`, the whole field in croniter), steps longer than their field and years after 2100.
//! The tests below the two comparisons assert the differences that are the reason for our own parser.

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use orch_spec::schedule::{CronExpr, ticks};
use proptest::prelude::*;

/// Number of fire times to compare per expression and start.
const MAX_FIRES: usize = 50;

/// Last year, inclusive, in which crate `cron` fires.
const LAST_YEAR: i32 = 2100;

/// The last second before a leap day, a fire time of most daily expressions, and a fraction of a second.
const STARTS: [&str; 3] = ["2024-02-28T23:59:59Z", "2027-01-01T00:00:00Z", "2026-10-25T12:34:56.789Z"];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const EXPRESSIONS: [&str; 43] = [
    "* * * * *",
    "*/5 * * * *",
    "*/7 * * * *",
    "7/20 * * * *",
    "0-29/10 * * * *",
    "15,45 * * * *",
    "0 * * * *",
    "35 */2 * * *",
    "0 */6 * * *",
    "0 0,12 * * *",
    "30 6 * * *",
    "59 23 * * *",
    "*/20 2 * * *",
    "0 9-17 * * MON-FRI",
    "*/15 8-18/2 * * mon-fri",
    "30 6 * * 1-5",
    "0 8 * * 1-5/2",
    "0 8 * * */2",
    "0 8 * * 3/2",
    "0 0 * * 0",
    "0 0 * * 7",
    "0 12 * * SUN",
    "0 22 * * Tue,Thu,Sat",
    "0 0 ? * mon",
    "0 0 1 * *",
    "0 0 1,15 * ?",
    "0 4 */10 * *",
    "0 0 29 * *",
    "0 0 30 * *",
    "0 0 31 * *",
    "59 23 28-31 * *",
    "0 0 29 2 *",
    "* * 29 FEB *",
    "0 0 1 JAN-JUN/2 *",
    "0 6 1-7 */3 *",
    "0 5 * nov,feb tue",
    "* * * * * */10",
    "30 6 * * mon 15",
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn orch_fires(expression: &str, tz: Tz, start: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let expression = CronExpr::parse(expression).expect("an expression that our parser accepts");
    ticks(&expression, tz, start).take_while(|at| at.year() <= LAST_YEAR).take(MAX_FIRES).collect()
}

fn crate_fires(expression: &str, tz: Tz, start: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let schedule: cron::Schedule = expression.parse().expect("an expression that crate `cron` accepts");
    schedule.after(&start.with_timezone(&tz)).take(MAX_FIRES).map(|at| at.to_utc()).collect()
}

/// Returns the expression in the syntax of crate `cron`: seconds first, weekdays numbered from Sunday = 1.
fn to_crate_syntax(expression: &str) -> String {
    let fields: Vec<&str> = expression.split(' ').collect();
    let [minute, hour, day, month, weekdays, ref seconds @ ..] = fields[..] else { return expression.to_owned() };
    let elements = weekdays.split(',').map(|element| {
        let (range, step) = element.find('/').map_or((element, ""), |slash| element.split_at(slash));
        let days = range.split('-').map(|day| match day.parse::<u32>() {
            Ok(number) => (number % 7 + 1).to_string(),
            Err(_) => day.to_owned(),
        });
        days.collect::<Vec<_>>().join("-") + step
    });
    let weekdays = elements.collect::<Vec<_>>().join(",");
    format!("{} {minute} {hour} {day} {month} {weekdays}", seconds.first().unwrap_or(&"0"))
}

/// Lists of up to three values, ranges and steps. Ranges neither wrap nor are equal.
fn numbers(min: u32, max: u32) -> impl Strategy<Value = String> {
    let range = (min..max).prop_flat_map(move |low| (Just(low), low + 1..=max));
    let element = prop_oneof![
        2 => (min..=max).prop_map(|value| value.to_string()),
        1 => range.clone().prop_map(|(low, high)| format!("{low}-{high}")),
        1 => (range, 1..=max).prop_map(|((low, high), step)| format!("{low}-{high}/{step}")),
        1 => (min..=max, 1..=max).prop_map(|(low, step)| format!("{low}/{step}")),
        1 => (1..=max).prop_map(|step| format!("*/{step}")),
    ];
    prop::collection::vec(element, 1..=3).prop_map(|elements| elements.join(","))
}

/// Like `numbers`, but with names. Crate `cron` rejects a name with a step (`mon/2`).
fn names(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let range = (0..names.len() - 1).prop_flat_map(|low| (Just(low), low + 1..names.len()));
    let range = range.prop_map(|(low, high)| format!("{}-{}", names[low], names[high]));
    let element = prop_oneof![
        (0..names.len()).prop_map(|at| names[at].to_owned()),
        range.clone(),
        (range, 1..names.len()).prop_map(|(range, step)| format!("{range}/{step}")),
    ];
    prop::collection::vec(element, 1..=3).prop_map(|elements| elements.join(","))
}

fn unrestricted() -> impl Strategy<Value = String> {
    Just("*".to_owned())
}

/// Day of month, month and weekday. At most one of the day fields is restricted.
fn date() -> impl Strategy<Value = String> {
    let any_day = || prop_oneof![3 => unrestricted(), 1 => Just("?".to_owned())];
    let weekday = prop_oneof![numbers(0, 6), names(&WEEKDAYS)];
    let days = prop_oneof![
        1 => (any_day(), any_day()),
        2 => (numbers(1, 31), any_day()),
        2 => (any_day(), weekday),
    ];
    let month = prop_oneof![2 => unrestricted(), 1 => numbers(1, 12), 1 => names(&MONTHS)];
    (days, month).prop_map(|((day, weekday), month)| format!("{day} {month} {weekday}"))
}

fn expression() -> impl Strategy<Value = String> {
    let minute = prop_oneof![1 => unrestricted(), 3 => numbers(0, 59)];
    let hour = prop_oneof![1 => unrestricted(), 2 => numbers(0, 23)];
    let seconds = prop_oneof![4 => Just(String::new()), 1 => numbers(0, 59).prop_map(|seconds| format!(" {seconds}"))];
    (minute, hour, date(), seconds).prop_map(|(minute, hour, date, seconds)| format!("{minute} {hour} {date}{seconds}"))
}

#[test]
fn listed_expressions_fire_as_in_crate_cron() {
    for expression in EXPRESSIONS {
        for start in STARTS.map(at) {
            let fires = orch_fires(expression, Tz::UTC, start);
            assert!(!fires.is_empty(), "`{expression}` never fires after {start}");
            let expected = crate_fires(&to_crate_syntax(expression), Tz::UTC, start);
            assert_eq!(fires, expected, "`{expression}` after {start}");
        }
    }
}

proptest! {
    #[test]
    fn generated_expressions_fire_as_in_crate_cron(expression in expression()) {
        for start in STARTS.map(at) {
            let expected = crate_fires(&to_crate_syntax(&expression), Tz::UTC, start);
            prop_assert_eq!(orch_fires(&expression, Tz::UTC, start), expected, "`{}` after {}", expression, start);
        }
    }
}

#[test]
fn two_restricted_day_fields_are_ored_but_crate_cron_ands_them() {
    let start = at("2026-03-01T00:00:00Z");
    let first_three = |mut fires: Vec<DateTime<Utc>>| {
        fires.truncate(3);
        fires.iter().map(|at| at.date_naive().to_string()).collect::<Vec<_>>()
    };
    let fires = orch_fires("0 0 14 * fri", Tz::UTC, start);
    assert_eq!(first_three(fires), ["2026-03-06", "2026-03-13", "2026-03-14"]);
    let fires = crate_fires("0 0 0 14 * fri", Tz::UTC, start);
    assert_eq!(first_three(fires), ["2026-08-14", "2027-05-14", "2028-01-14"]);
}

#[test]
fn seconds_are_optional_and_last_but_crate_cron_requires_them_first() {
    let start = at("2026-03-01T00:00:00Z");
    assert!("0 12 * * *".parse::<cron::Schedule>().is_err());
    assert_eq!(orch_fires("0 12 * * *", Tz::UTC, start)[0], at("2026-03-01T12:00:00Z"));
    assert_eq!(orch_fires("5 6 7 * * 8", Tz::UTC, start)[0], at("2026-03-07T06:05:08Z"));
    assert_eq!(crate_fires("5 6 7 * * 7", Tz::UTC, start)[0], at("2026-03-07T07:06:05Z"));
}

#[test]
fn weekday_1_is_monday_but_crate_cron_counts_from_sunday() {
    let start = at("2026-03-03T00:00:00Z");
    assert_eq!(orch_fires("0 0 * * 1", Tz::UTC, start)[0].weekday(), chrono::Weekday::Mon);
    assert_eq!(crate_fires("0 0 0 * * 1", Tz::UTC, start)[0].weekday(), chrono::Weekday::Sun);
}

#[test]
fn clock_changes_lose_repeat_and_reverse_fires_only_in_crate_cron() {
    let fires = |expression: &str, start: &str, end: &str| {
        let until_end = |mut fires: Vec<DateTime<Utc>>| {
            fires.retain(|fire| *fire < at(end));
            fires.iter().map(|at| at.format("%H:%M").to_string()).collect::<Vec<_>>()
        };
        let (tz, start) = (Tz::Europe__Berlin, at(start));
        let crate_syntax = to_crate_syntax(expression);
        (until_end(orch_fires(expression, tz, start)), until_end(crate_fires(&crate_syntax, tz, start)))
    };
    // On 2026-03-29 the clock skips from 02:00 to 03:00: 02:30 moves to 03:30, which is 01:30 UTC.
    let (ours, theirs) = fires("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    assert_eq!(ours, ["01:30"]);
    assert!(theirs.is_empty(), "{theirs:?}");
    // On 2026-10-25 the clock shows 02:00 to 02:59 twice, from 00:00 to 01:59 UTC.
    let (ours, theirs) = fires("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
    assert_eq!(ours, ["01:30"]);
    assert_eq!(theirs, ["00:30", "01:30"]);
    let (ours, theirs) = fires("*/30 * * * *", "2026-10-24T23:45:00Z", "2026-10-25T02:15:00Z");
    assert_eq!(ours, ["00:00", "00:30", "01:00", "01:30", "02:00"]);
    assert_eq!(theirs, ["00:00", "01:00", "00:30", "01:30", "02:00"]);
}
