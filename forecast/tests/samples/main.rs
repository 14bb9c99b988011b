//! Tests the forecast with real trips: the 36 files in `dags/tests/data/taxi`, each with 10,000 trips of a month. The
//! tests check the quality on eight held-out weeks, and that a forecast never reads later data.
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

mod trips;

use chrono::NaiveDate;
use orch_forecast::calendar::{WEEK, midnight};
use orch_forecast::demand::{HELD_OUT_WEEKS, Judged, LEAST_TRIPS, Model, Plan, TooLittle};
use orch_forecast::features::{HORIZON, seen};
use orch_forecast::series::Series;
use orch_forecast::zones::Shares;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use trips::Zones;

static ZONES: LazyLock<Zones> = LazyLock::new(trips::zones);
static BOROUGHS: LazyLock<BTreeMap<String, Series>> = LazyLock::new(|| trips::boroughs(&ZONES));

/// The last eight complete weeks of the files, Monday to Monday. No later data exists that could leak into the model.
/// Election Day, Thanksgiving and Christmas make these weeks harder to predict than others.
const HELD_OUT: [&str; 2] = ["2020-11-02", "2020-12-28"];
/// The same weeks one year earlier, and weeks in spring and summer. They detect a model that is tuned only to the weeks
/// above.
const ALSO: [&str; 3] = ["2019-06-03", "2019-09-02", "2019-12-30"];
const MOST_MASE: f64 = 0.95;

fn monday(day: &str) -> i64 {
    midnight(day.parse::<NaiveDate>().expect("a day"))
}

fn plan(end: i64) -> Plan {
    Plan { first: end - 52 * WEEK, end, held_out_weeks: HELD_OUT_WEEKS, calibration_weeks: HELD_OUT_WEEKS }
}

#[expect(clippy::print_stdout, reason = "the figures of the guide")]
fn tell(name: &str, judged: &Judged) {
    let Judged { hours, mean, mae, naive_mae, mase, mase_of_training, coverage } = judged;
    println!(
        "{name:14} {hours} hours of {mean:.2} trips: error {mae:.3}, a week before {naive_mae:.3}, MASE {mase:.3} \
         ({mase_of_training:.3} by the weeks learnt from), {:.1} % inside",
        coverage * 100.0
    );
}

fn fit(boroughs: &BTreeMap<String, Series>, end: &str) -> Model {
    Model::fit(boroughs, plan(monday(end))).unwrap_or_else(|missing| panic!("{end}: {missing:?}"))
}

#[test]
fn eight_weeks_that_were_held_out_are_foretold_better_than_by_the_week_before() {
    let model = fit(&BOROUGHS, HELD_OUT[1]);
    assert_eq!(model.plan.held_out(), monday(HELD_OUT[0])..monday(HELD_OUT[1]));
    tell("all", &model.judged);
    let mut judged = Vec::new();
    for (name, borough) in &model.boroughs {
        tell(name, &borough.judged);
        if borough.judged.mean >= LEAST_TRIPS {
            judged.push((name.as_str(), borough.judged));
        }
    }
    // The other boroughs are not evaluated: they have one trip in ten or a hundred hours, so no interval of whole trips
    // can cover 80 % of the hours.
    assert_eq!(judged.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["Manhattan", "Queens"]);
    judged.push(("all", model.judged));
    for (name, judged) in judged {
        assert!(judged.mase <= MOST_MASE && judged.mase_of_training <= MOST_MASE, "{name}: {judged:?}");
        assert!((0.75..=0.85).contains(&judged.coverage), "{name}: {judged:?}");
    }
    assert_eq!(model, fit(&BOROUGHS, HELD_OUT[1]), "the same trips give the same model");
    let text = serde_json::to_string(&model).expect("JSON");
    assert_eq!(serde_json::from_str::<Model>(&text).expect("a model"), model);
    for end in ALSO {
        let judged = fit(&BOROUGHS, end).judged;
        tell(end, &judged);
        assert!(judged.mase <= MOST_MASE && (0.75..=0.85).contains(&judged.coverage), "{end}: {judged:?}");
    }
}

#[test]
fn what_comes_later_changes_no_feature_no_model_and_no_forecast() {
    let origin = monday(HELD_OUT[0]);
    let shuffled: BTreeMap<String, Series> =
        BOROUGHS.iter().map(|(name, series)| (name.clone(), shuffled_from(series, origin))).collect();
    assert_ne!(*BOROUGHS, shuffled);
    let [model, other] = [&*BOROUGHS, &shuffled].map(|boroughs| fit(boroughs, HELD_OUT[0]));
    assert_eq!(model, other);
    for (name, series) in &*BOROUGHS {
        let later = &shuffled[name];
        assert_eq!(series.over(0..origin), later.over(0..origin));
        for hour in origin..origin + HORIZON {
            // The features are compared as text, because NaN is not equal to itself.
            let [one, same] = [series, later].map(|series| format!("{:?}", seen(&series.before(origin), hour)));
            assert_eq!(one, same, "{name} at {hour}");
        }
        assert_eq!(model.forecast(name, series, origin), model.forecast(name, later, origin), "{name}");
    }
    // For an origin one week later, the shuffled counts are in the past, so the forecast must change.
    let [one, other] = [&*BOROUGHS, &shuffled].map(|of| model.forecast("Manhattan", &of["Manhattan"], origin + WEEK));
    assert_ne!(one, other);
}

#[test]
fn the_parts_of_a_borough_are_nearer_to_the_truth_than_a_week_before() {
    let (first, end) = (monday(HELD_OUT[0]), monday(HELD_OUT[1]));
    let model = fit(&BOROUGHS, HELD_OUT[0]);
    let zones: Vec<&Series> =
        ZONES.values().filter(|(borough, _)| borough == "Manhattan").map(|(_, series)| series).collect();
    let (mut hours, mut inside, mut errors, mut naive_errors) = (0, 0, 0.0, 0.0);
    for origin in (first..end).step_by(WEEK as usize) {
        let whole = model.forecast("Manhattan", &BOROUGHS["Manhattan"], origin).expect("it is known");
        let shares = Shares::of(zones.len(), origin - 8 * WEEK..origin, |zone, hour| zones[zone].at(hour));
        for (zone, series) in zones.iter().enumerate() {
            // Skip zones with less than one trip per two hours before the origin.
            if series.over(origin - 8 * WEEK..origin).0 < 4.0 * WEEK as f64 {
                continue;
            }
            for (hour, expected) in (origin..).zip(&whole) {
                let part = expected.part(shares.at(zone, hour));
                let (actual, before) = (series.at(hour).expect("a count"), series.at(hour - WEEK).expect("a count"));
                hours += 1;
                errors += (actual - part.mean).abs();
                naive_errors += (actual - before).abs();
                inside += usize::from(part.of_80().expect("an interval").has(actual));
            }
        }
    }
    let (mase, coverage) = (errors / naive_errors, inside as f64 / f64::from(hours));
    tell_zones(hours, mase, coverage);
    // Intervals of whole trips cover more hours than their nominal percentage if there are few trips per hour.
    assert!(hours > 1_000 && mase <= MOST_MASE && (0.75..=0.95).contains(&coverage), "{hours} {mase} {coverage}");
}

#[expect(clippy::print_stdout, reason = "the figures of the guide")]
fn tell_zones(hours: i32, mase: f64, coverage: f64) {
    println!("busy zones of Manhattan: {hours} hours, MASE {mase:.3}, {:.1} % inside", coverage * 100.0);
}

/// Returns a copy of the series in which the counts from hour `from` on are shuffled.
fn shuffled_from(series: &Series, from: i64) -> Series {
    let hours = series.hours();
    let count = |hour: i64| series.at(hour).map(|count| count as u32);
    let mut later: Vec<Option<u32>> = (from..hours.end).map(count).collect();
    let mut state = 88_172_645_463_325_252_u64;
    for place in (1..later.len()).rev() {
        // Xorshift random number generator (Marsaglia).
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            state ^= if left { state << by } else { state >> by };
        }
        later.swap(place, (state % (place as u64 + 1)) as usize);
    }
    Series::new(hours.start, (hours.start..from).map(count).chain(later).collect())
}

#[test]
fn too_little_history_is_told() {
    // Training needs 5 weeks before the first row, 8 weeks of rows, and 8 weeks each for calibration and evaluation.
    let first = BOROUGHS.values().next().expect("a borough").hours().start;
    let fit = |weeks: i64| Model::fit(&BOROUGHS, plan(first + weeks * WEEK)).map(|model| model.boroughs.len());
    assert_eq!(fit(28), Err(TooLittle::Weeks { known: 7, needed: 8 }));
    assert_eq!(fit(2), Err(TooLittle::Weeks { known: 0, needed: 8 }));
    assert_eq!(fit(29), Ok(BOROUGHS.len()));
    let empty = Series::new(first, vec![Some(0); (60 * WEEK) as usize]);
    let quiet = BTreeMap::from([("Quiet".to_owned(), empty)]);
    assert_eq!(Model::fit(&quiet, plan(first + 60 * WEEK)).map(|_| ()), Err(TooLittle::Trips));
}

#[test]
fn a_model_that_a_week_before_beats_is_not_good() {
    let first = monday("2019-01-07");
    // Every week is the same, but the count of an hour can only be predicted from the week before, not from the
    // calendar.
    let weekly = |hour: i64| Some((hour * 7_919 % WEEK * 104_729 % 97) as u32 % 50);
    let series = Series::new(first, (0..40 * WEEK).map(weekly).collect());
    let model = Model::fit(&BTreeMap::from([("Clock".to_owned(), series)]), plan(first + 40 * WEEK)).expect("a model");
    assert!(!model.is_good() && !model.boroughs["Clock"].judged.is_good(), "{:?}", model.judged);
}
