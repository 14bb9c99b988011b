//! Tests of the order dates that a run reads, and of the choice of the newest extract for a day.

use chrono::NaiveDate;
use orch::Connection;
use orch_dags::retail::days::Days;
use orch_dags::retail::extract::{Extract, Extracts, is_newest_of, known_until_after};
use orch_dags::retail::options::{From, Mode, Retail};
use orch_dags::retail::source::Source;
use orch_dags::retail::tables::RAW;

fn day(text: &str) -> Option<NaiveDate> {
    (!text.is_empty()).then(|| text.parse().expect("a day"))
}

fn days(text: &str) -> Days {
    match text.split_once("..") {
        Some((from, until)) => Days { from: day(from), until: day(until) },
        None => Days::only(day(text).expect("a day")),
    }
}

#[test]
fn a_run_reads_the_days_that_its_params_name() {
    for (mode, said, logical, known, expected) in [
        (Mode::Full, "", "", "2014-01-10", Some("all")),
        (Mode::Incremental, "", "", "", Some("all")),
        (Mode::Incremental, "", "2014-01-02", "2014-01-10", Some("since-2014-01-10")),
        (Mode::Day, "2014-01-31", "2014-01-02", "", Some("2014-01-31")),
        (Mode::Day, "", "2014-01-02", "", Some("2014-01-02")),
        (Mode::Day, "", "", "2014-01-10", None),
        (Mode::Day, "someday", "2014-01-02", "", None),
    ] {
        let options = Retail { mode, day: Some(said.into()), source: From::Shop };
        let days = options.days(day(logical), day(known)).ok().map(Days::label);
        assert_eq!(days.as_deref(), expected, "{mode:?} {said} {logical} {known}");
    }
}

#[test]
fn the_known_days_grow_without_gaps() {
    for (before, replaced, newest, after) in [
        ("", "..", "2014-07-23", "2014-07-23"),
        ("2014-07-23", "..", "2014-07-01", "2014-07-01"),
        ("2014-01-10", "2014-01-10..", "2014-01-12", "2014-01-12"),
        ("2014-01-10", "2014-01-10..", "", "2014-01-10"),
        ("2014-01-10", "2014-01-05", "2014-01-05", "2014-01-10"),
        ("2014-01-10", "2014-01-15", "2014-01-15", "2014-01-10"),
        ("", "2014-01-15", "2014-01-15", ""),
    ] {
        let known = known_until_after(day(before), days(replaced), day(newest));
        assert_eq!(known, day(after), "{before} {replaced} {newest}");
    }
}

#[test]
fn each_day_comes_from_its_newest_extract() {
    let windows = ["..", "2014-01-05..", "2014-01-07"].map(days);
    let conditions = [0, 1, 2].map(|extract| is_newest_of(&windows, extract).unwrap_or_default());
    assert_eq!(conditions.map(|condition| condition.matches("NOT").count()), [2, 1, 0]);
    assert_eq!(is_newest_of(&windows[..1], 0), None);
}

#[test]
fn a_run_that_has_not_extracted_all_tables_is_left_out() {
    let whole = RAW.map(|table| ("one".to_owned(), Extract::at(table.name, Days::all())));
    let half = whole.clone().into_iter().take(3).map(|(_, extract)| ("half".into(), extract));
    assert_eq!(Extracts::by_run(whole.into_iter().chain(half)), [Extracts::whole()]);
}

#[test]
fn a_connection_selects_the_sample_shop() {
    for (uri, expected) in [
        ("sample://retail", Some((1, 1))),
        ("sample://retail?seed=7&scale=20", Some((7, 20))),
        ("sample://retail?scale=0", None),
        ("sample://retail?scale=1001", None),
        ("sample://retail?seed=often", None),
        ("http://retail", None),
    ] {
        let connection = Connection::from_uri("retail_mysql", uri).expect("a URI");
        let found = match Source::of(&connection) {
            Ok(Source::Sample(sample)) => Some((sample.seed, sample.scale)),
            _ => None,
        };
        assert_eq!(found, expected, "{uri}");
    }
}
