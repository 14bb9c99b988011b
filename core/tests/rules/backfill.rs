//! Tests of the dates of a backfill and of the action for each date. Each case has two lines.

use chrono::{DateTime, Utc};
use orch_core::backfill::{Action, BackfillRequest, Dates, Reprocess, Step, dates, plan};
use orch_spec::DagSpec;
use orch_spec::state::RunState;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const NOW: &str = "2026-03-10T12:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 5 { format!("2026-{text}T00:00:00Z") } else { format!("2026-{text}:00Z") };
    text.parse().unwrap_or_else(|e| panic!("`{text}`: {e}"))
}

fn spec(schedule: &Value, timetable: &str, task: &Value) -> DagSpec {
    let spec = json!({ "dag_id": "d", "schedule": schedule, "timetable": timetable,
        "start": "2026-03-02T00:00:00Z", "end": "2026-03-08T00:00:00Z",
        "tasks": [{ "task_id": "first", "kind": "rust" }, task] });
    serde_json::from_value(spec).expect("a spec")
}

fn task() -> Value {
    json!({ "task_id": "t", "kind": "rust" })
}

fn cron(expression: &str) -> Value {
    json!({ "cron": { "expression": expression, "timezone": "UTC" } })
}

fn daily() -> DagSpec {
    spec(&cron("0 0 * * *"), "trigger", &task())
}

fn manual() -> DagSpec {
    spec(&json!("manual"), "trigger", &task())
}

fn range(from: &str, to: &str) -> BackfillRequest {
    BackfillRequest {
        dates: Dates::Range { from: at(from), to: at(to), step: None },
        reprocess: Reprocess::None,
        backwards: false,
    }
}

fn steps(from: &str, to: &str, step: Step) -> BackfillRequest {
    BackfillRequest { dates: Dates::Range { from: at(from), to: at(to), step: Some(step) }, ..range(from, to) }
}

fn each(dates: &[&str]) -> BackfillRequest {
    BackfillRequest { dates: Dates::Each(dates.iter().map(|date| at(date)).collect()), ..range("03-01", "03-01") }
}

fn backwards(wish: BackfillRequest) -> BackfillRequest {
    BackfillRequest { backwards: true, ..wish }
}

fn reprocess(wish: BackfillRequest, reprocess: Reprocess) -> BackfillRequest {
    BackfillRequest { reprocess, ..wish }
}

/// Formats dates as `03-01` or `03-01T06:00`, with the interval if it is not empty.
fn said(spec: &DagSpec, wish: &BackfillRequest) -> String {
    let short = |at: DateTime<Utc>| at.format("%m-%dT%H:%M").to_string().replace("T00:00", "");
    match dates(spec, wish, NOW.parse().expect("a time")) {
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_string(),
        Ok(dates) => {
            let one = |date: &orch_core::backfill::Date| {
                let (start, end) = (date.interval.start, date.interval.end);
                assert_eq!(start, date.logical_date);
                if start == end { short(start) } else { format!("{}..{}", short(start), short(end)) }
            };
            dates.iter().map(one).collect::<Vec<_>>().join(" ")
        }
    }
}

#[track_caller]
fn check(spec: &DagSpec, wish: &BackfillRequest, expected: &str) {
    assert_eq!(said(spec, wish), expected);
}

#[test]
fn a_range_has_the_ticks_of_the_schedule_with_both_ends() {
    check(&daily(), &range("03-03", "03-05"), "03-03 03-04 03-05");
    check(&daily(), &range("03-03T00:01", "03-04T23:59"), "03-04");
    check(&spec(&cron("0 6 * * 1"), "trigger", &task()), &range("03-01", "03-09T06:00"), "03-02T06:00 03-09T06:00");
    check(
        &spec(&json!({ "every_ms": 43_200_000 }), "trigger", &task()),
        &range("03-03", "03-04"),
        "03-03 03-03T12:00 03-04",
    );
    check(&daily(), &range("03-03T00:01", "03-03T23:59"), "");
}

#[test]
fn the_bounds_of_the_dag_itself_do_not_count() {
    check(&daily(), &range("02-28", "03-02"), "02-28 03-01 03-02");
    check(&daily(), &range("03-08", "03-09"), "03-08 03-09");
}

#[test]
fn a_data_interval_begins_at_its_date_and_must_be_over() {
    let intervals = spec(&cron("0 0 * * *"), "data_interval", &task());
    check(&intervals, &range("03-03", "03-04"), "03-03..03-04 03-04..03-05");
    check(&intervals, &range("03-08", "03-10"), "03-08..03-09 03-09..03-10");
    check(&intervals, &each(&["03-09"]), "03-09..03-10");
    check(&intervals, &each(&["03-10"]), "a backfill cannot be for the future: 2026-03-10 00:00:00 UTC is not over");
}

#[test]
fn what_is_not_over_is_left_out_of_a_range_and_a_range_of_the_future_is_refused() {
    check(&daily(), &range("03-09", "03-20"), "03-09 03-10");
    check(
        &daily(),
        &range("03-11", "03-20"),
        "a backfill cannot be for the future: 2026-03-11 00:00:00 UTC is not over",
    );
}

#[test]
fn the_first_date_is_not_after_the_last() {
    check(
        &daily(),
        &range("03-05", "03-04"),
        "the first date 2026-03-05 00:00:00 UTC must not be after the last 2026-03-04 00:00:00 UTC",
    );
    check(&daily(), &range("03-05", "03-05"), "03-05");
}

#[test]
fn backwards_the_latest_comes_first() {
    check(&daily(), &backwards(range("03-03", "03-05")), "03-05 03-04 03-03");
    check(&daily(), &backwards(each(&["03-03", "03-05"])), "03-05 03-03");
}

#[test]
fn dates_may_be_named_one_by_one() {
    check(&daily(), &each(&["03-07", "03-03", "03-07"]), "03-03 03-07");
    check(&daily(), &each(&["03-07T06:00"]), "the schedule of dag `d` has no run for 2026-03-07 06:00:00 UTC");
    check(&manual(), &each(&["03-07T06:13", "03-01"]), "03-01 03-07T06:13");
    check(&manual(), &each(&["03-11"]), "a backfill cannot be for the future: 2026-03-11 00:00:00 UTC is not over");
}

#[test]
fn a_dag_without_a_schedule_has_the_dates_of_a_step() {
    check(&manual(), &steps("03-03", "03-05", Step::Daily), "03-03 03-04 03-05");
    check(&manual(), &steps("03-03T22:00", "03-04", Step::Hourly), "03-03T22:00 03-03T23:00 03-04");
    check(&manual(), &steps("03-09", "03-20", Step::Daily), "03-09 03-10");
    check(&manual(), &range("03-03", "03-05"), "dag `d` has no schedule to take the dates from");
    check(&daily(), &steps("03-03", "03-05", Step::Daily), "dag `d` has a schedule, which says its dates");
}

#[test]
fn once_continuous_and_assets_say_no_dates() {
    for schedule in [json!("once"), json!("continuous"), json!({ "assets": [{ "uri": "lake://a" }] })] {
        check(
            &spec(&schedule, "trigger", &task()),
            &range("03-03", "03-05"),
            "dag `d` has no schedule to take the dates from",
        );
        check(&spec(&schedule, "trigger", &task()), &each(&["03-03"]), "03-03");
    }
}

#[test]
fn a_dag_that_depends_on_the_past_goes_forwards_and_over_what_there_is() {
    for option in ["depends_on_past", "wait_for_downstream"] {
        let past = spec(&cron("0 0 * * *"), "trigger", &json!({ "task_id": "t", "kind": "rust", option: true }));
        let wish = range("03-03", "03-04");
        check(&past, &wish, "task `t` of dag `d` depends on the past: runs there are must be run again");
        check(
            &past,
            &backwards(wish.clone()),
            "a backfill of dag `d` cannot go backwards: task `t` depends on the past",
        );
        check(&past, &reprocess(wish, Reprocess::Failed), "03-03 03-04");
    }
}

#[test]
fn too_many_dates_are_refused() {
    let minutes = spec(&cron("* * * * *"), "trigger", &task());
    check(&minutes, &range("03-01", "03-09"), "more than 10000 dates are meant");
    assert_eq!(said(&minutes, &range("03-01", "03-02")).split(' ').count(), 1_441);
}

#[test]
fn what_is_done_for_a_date_follows_from_its_run_and_from_what_is_run_again() {
    use Reprocess::{Completed, Failed, None as Nothing};
    use RunState::{Failed as Bad, Queued, Running, Success};
    for (there, again, expected) in [
        (None, Nothing, "create"),
        (None, Completed, "create"),
        (Some(Success), Nothing, "skip: already exists"),
        (Some(Bad), Nothing, "skip: already exists"),
        (Some(Success), Failed, "skip: already exists"),
        (Some(Bad), Failed, "run again"),
        (Some(Success), Completed, "run again"),
        (Some(Bad), Completed, "run again"),
        (Some(Queued), Completed, "skip: in flight"),
        (Some(Running), Completed, "skip: in flight"),
        (Some(Running), Failed, "skip: in flight"),
        (Some(Queued), Nothing, "skip: in flight"),
    ] {
        let wish = reprocess(range("03-03", "03-03"), again);
        let dates = dates(&daily(), &wish, NOW.parse().expect("a time")).expect("dates");
        let there: BTreeMap<_, _> = there.map(|state| (at("03-03"), state)).into_iter().collect();
        let said: Vec<String> = plan(&dates, &there, wish.reprocess)
            .into_iter()
            .map(|(_, action)| match action {
                Action::Create => "create".into(),
                Action::Rerun => "run again".into(),
                Action::Skip(reason) => format!("skip: {reason}"),
            })
            .collect();
        assert_eq!(said, [expected], "{there:?} {again}");
    }
}
