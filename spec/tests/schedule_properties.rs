//! Invariants for every expression, zone and instant. `schedule_oracle` tests the meaning of single expressions.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use orch_spec::schedule::{CronExpr, next_after, next_from, parse_timezone, previous_before, previous_until, ticks};
use proptest::prelude::*;

/// From 2020 (inclusive) to 2040 (exclusive).
const SECONDS: std::ops::Range<i64> = 1_577_836_800..2_208_988_800;

fn zone() -> impl Strategy<Value = Tz> {
    // Lord Howe is the only zone that changes by half an hour, so it is chosen more often than 1 in 600.
    prop_oneof![8 => (0..TZ_VARIANTS.len()).prop_map(|at| TZ_VARIANTS[at]), 1 => Just(Tz::Australia__Lord_Howe)]
}

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    (SECONDS, 0..1_000_000_000_u32).prop_map(|(at, nanos)| DateTime::from_timestamp(at, nanos).expect("in range"))
}

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let value = low..=high;
    prop_oneof![
        4 => Just("*".to_owned()),
        2 => value.clone().prop_map(|v| v.to_string()),
        1 => (1..=high).prop_map(|step| format!("*/{step}")),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a}-{b}")),
        1 => (value.clone(), value.clone(), value).prop_map(|(a, b, c)| format!("{a},{b},{c}")),
    ]
}

fn expression() -> impl Strategy<Value = CronExpr> {
    let day = prop_oneof![5 => field(1, 31), 1 => Just("L".to_owned()), 1 => Just("15W".to_owned())];
    let weekday = prop_oneof![5 => field(0, 7), 1 => Just("1#2".to_owned()), 1 => Just("L5".to_owned())];
    let month = prop_oneof![4 => Just("*".to_owned()), 1 => field(1, 12)];
    (field(0, 59), field(0, 23), day, month, weekday)
        .prop_map(|(m, h, d, month, w)| CronExpr::parse(&format!("{m} {h} {d} {month} {w}")).expect("valid by design"))
}

fn wall(tz: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&tz).naive_local()
}

/// Returns true if the expression fires at this wall time. It is tested in UTC, which has no clock changes.
fn names(expr: &CronExpr, wall: NaiveDateTime) -> bool {
    next_from(expr, Tz::UTC, wall.and_utc()) == Some(wall.and_utc())
}

/// Computes ticks minute by minute: slow, but independent of the search.
fn ticks_between(expr: &CronExpr, every_hour: bool, tz: Tz, from: DateTime<Utc>, minutes: i64) -> Vec<DateTime<Utc>> {
    let mut found: Vec<DateTime<Utc>> = Vec::new();
    let mut held_back_until = from;
    for minute in 0..minutes {
        let at = from + TimeDelta::minutes(minute);
        let (shown, before) = (wall(tz, at), wall(tz, at - TimeDelta::minutes(1)));
        let skipped = (shown - before).num_minutes() - 1;
        let first_skipped = (1..=skipped.max(0)).find(|m| names(expr, before + TimeDelta::minutes(*m)));
        if let Some(moved) = first_skipped {
            held_back_until = at + TimeDelta::minutes(moved - 1);
            found.push(held_back_until);
        }
        let again = tz.from_local_datetime(&shown).latest().is_some_and(|latest| latest.to_utc() > at);
        if names(expr, shown) && at >= held_back_until && (every_hour || !again) {
            found.push(at);
        }
    }
    found.sort();
    found.dedup();
    found.retain(|tick| *tick < from + TimeDelta::minutes(minutes));
    found
}

/// Returns the first clock change after `at`, to the minute.
fn next_change(tz: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| tz.offset_from_utc_datetime(&at.naive_utc()).fix();
    let hours = (0..24 * 400).map(|hour| at + TimeDelta::hours(hour));
    let hour = hours.into_iter().find(|hour| offset(*hour) != offset(*hour + TimeDelta::hours(1)))?;
    (1..=60).map(|m| hour + TimeDelta::minutes(m)).find(|minute| offset(*minute) != offset(hour))
}

proptest! {
    #[test]
    fn ticks_increase_and_the_way_back_is_the_way_there(expr in expression(), tz in zone(), start in instant()) {
        let ticks: Vec<_> = ticks(&expr, tz, start).take(40).collect();
        prop_assert!(ticks.iter().all(|tick| *tick > start));
        prop_assert!(ticks.is_sorted_by(|a, b| a < b), "{ticks:?}");
        for pair in ticks.windows(2) {
            prop_assert_eq!(previous_before(&expr, tz, pair[1]), Some(pair[0]));
            prop_assert_eq!(next_from(&expr, tz, pair[0]), Some(pair[0]));
            prop_assert_eq!(previous_until(&expr, tz, pair[1]), Some(pair[1]));
        }
        if let Some(back) = previous_before(&expr, tz, start) {
            prop_assert!(back < start);
            prop_assert_eq!(next_from(&expr, tz, start), next_after(&expr, tz, back));
        }
    }

    #[test]
    fn around_a_change_of_clocks_the_search_finds_what_the_wall_shows(
        (minute, hour) in (field(0, 59), field(0, 23)),
        (tz, start) in (zone(), instant()),
        near in prop::option::of(-1..3_i64),
        ahead in prop_oneof![0..60_i64, 0..400_i64],
    ) {
        let start = DateTime::from_timestamp(start.timestamp() / 60 * 60, 0).expect("in range");
        let Some(change) = next_change(tz, start) else { return Ok(()) };
        // Half of the time, the hour is skipped or repeated.
        let hour = near.map_or(hour, |near| (wall(tz, change - TimeDelta::minutes(1)) + TimeDelta::hours(near)).hour().to_string());
        let expr = CronExpr::parse(&format!("{minute} {hour} * * *")).expect("valid by design");
        let named_hour = |hour| (0..60).any(|minute| {
            names(&expr, NaiveDate::default().and_hms_opt(hour, minute, 0).expect("a time"))
        });
        let every_hour = (0..24).all(named_hour);

        let (from, end) = (change - TimeDelta::minutes(ahead), change + TimeDelta::minutes(400));
        let mut want = ticks_between(&expr, every_hour, tz, change - TimeDelta::minutes(400), 800);
        want.retain(|tick| *tick >= from);
        let next = std::iter::successors(next_from(&expr, tz, from), |at| next_after(&expr, tz, *at));
        prop_assert_eq!(next.take_while(|at| *at < end).collect::<Vec<_>>(), want.clone(), "{} {} from {}", expr, tz, from);
        let back = std::iter::successors(previous_before(&expr, tz, end), |at| previous_before(&expr, tz, *at));
        want.reverse();
        prop_assert_eq!(back.take_while(|at| *at >= from).collect::<Vec<_>>(), want.clone(), "{} {} back", expr, tz);
        // Search from any instant, not only from tick to tick.
        for minute in 0..60 {
            let at = change + TimeDelta::minutes(minute - ahead.min(30)) + TimeDelta::seconds(1);
            if let Some(before) = want.iter().position(|tick| *tick < at) {
                prop_assert_eq!(previous_before(&expr, tz, at), Some(want[before]), "{} {} before {}", expr, tz, at);
            }
            if let Some(after) = want.iter().rfind(|tick| **tick > at) {
                prop_assert_eq!(next_after(&expr, tz, at), Some(*after), "{} {} after {}", expr, tz, at);
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".*", cron in "[0-9a-zA-Z*,/#?@ -]{0,40}", words in "([0-9LW#*/,-]{1,5} ){5}", zone in ".{0,20}") {
        for text in [text, cron, words] {
            if let Ok(expr) = CronExpr::parse(&text) {
                prop_assert_eq!(&CronExpr::parse(expr.as_str()).expect("it was valid before"), &expr);
                prop_assert!(!expr.describe().is_empty());
                next_after(&expr, Tz::UTC, DateTime::UNIX_EPOCH);
            }
        }
        parse_timezone(&zone).map_err(|error| error.to_string()).ok();
    }
}

#[test]
fn the_ends_of_time_are_no_panic() {
    for text in ["* * * * *", "0 0 29 2 *", "0 0 30 2 *"] {
        let expr = CronExpr::parse(text).expect("a valid expression");
        for tz in [Tz::UTC, Tz::Pacific__Apia, Tz::America__New_York] {
            for at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                let (next, previous) = (next_after(&expr, tz, at), previous_before(&expr, tz, at));
                assert!(next.is_none_or(|next| next > at) && previous.is_none_or(|previous| previous < at));
                next_from(&expr, tz, at);
                previous_until(&expr, tz, at);
            }
        }
    }
}
