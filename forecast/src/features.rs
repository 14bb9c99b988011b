//! Features of a future hour: the calendar, and the hours before the origin of the forecast.

use crate::calendar::{DAY, WEEK, date, hour_of_day, hour_of_week, is_holiday, is_weekend};
use crate::series::{PastSeries, Series};
use chrono::TimeDelta;

/// Number of hours that a forecast covers. Within it, the same hour one week earlier is always known.
pub const HORIZON: i64 = WEEK;
/// Maximum number of hours that a row looks back.
pub const LOOK_BACK: i64 = 9 * WEEK;

/// Names of the columns, in order. They are stored in each model, so a model is used only with the features that it
/// was fitted with.
pub const NAMES: [&str; COUNT] = [
    "hour_of_day",
    "hour_of_week",
    "is_weekend",
    "is_holiday",
    "is_day_after_holiday",
    "day_of_year",
    "hours_ahead",
    "week_ago",
    "two_weeks_ago",
    "same_hour_of_week",
    "around_hour_of_week",
    "same_hour_of_day",
    "last_day_against_usual",
    "last_week_against_usual",
    "usual",
];
pub const COUNT: usize = 15;

/// The features of one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HourFeatures {
    pub features: [f64; COUNT],
    /// Logarithm of the weekly profile. The trees start from this value.
    pub start: f64,
}

/// Returns the features of an hour at or after the origin.
pub fn seen(past: &PastSeries<'_>, hour: i64) -> HourFeatures {
    let (origin, day) = (past.origin, date(hour));
    let known = |(sum, hours): (f64, f64)| if hours > 0.0 { sum / hours } else { f64::NAN };
    let sum_of = |hours: &mut dyn Iterator<Item = i64>, around: i64| {
        hours
            .map(|hour| past.over(hour - around..hour + around + 1))
            .fold((0.0, 0.0), |all, part| (all.0 + part.0, all.1 + part.1))
    };
    let weeks = |count: i64| (1..=count).map(move |week| hour - week * WEEK);
    let last_known = hour - DAY * ((hour - origin) / DAY + 1);
    let usual_of_week = sum_of(&mut weeks(4), 0);
    let around = sum_of(&mut weeks(8), 1);
    let level = known(past.over(origin - 4 * WEEK..origin));
    let last_week = known(past.over(origin - WEEK..origin));
    let against = known(past.over(origin - DAY..origin)) / known(past.over(origin - WEEK - DAY..origin - WEEK));
    // Smooths the profile with one hour at the mean level, so that counts of 0 do not make it 0.
    let level_or_none = if level.is_nan() { 0.0 } else { level };
    let profile = (around.0 + level_or_none) / (around.1 + 1.0);
    let features = [
        hour_of_day(hour) as f64,
        hour_of_week(hour) as f64,
        f64::from(u8::from(is_weekend(day))),
        f64::from(u8::from(is_holiday(day))),
        f64::from(u8::from(is_holiday(day - TimeDelta::days(1)))),
        f64::from(chrono::Datelike::ordinal(&day)),
        (hour - origin + 1) as f64,
        past.at(hour - WEEK).unwrap_or(f64::NAN),
        past.at(hour - 2 * WEEK).unwrap_or(f64::NAN),
        known(usual_of_week),
        known(around),
        known(sum_of(&mut (0..14).map(|day| last_known - day * DAY), 0)),
        if against.is_finite() { against } else { f64::NAN },
        last_week / level,
        level,
    ];
    HourFeatures { features, start: profile.max(1e-3).ln() }
}

/// Returns the naive forecast: the count of the same hour one week earlier. A model must be better than this.
pub fn naive(past: &PastSeries<'_>, hour: i64) -> Option<f64> {
    past.at(hour - WEEK)
}

/// Returns the forecast origin of a training hour. The horizons of consecutive hours, from 1 to 168 hours, are in mixed
/// order, so a model learns all horizons from one row per hour.
pub fn training_origin(hour: i64) -> i64 {
    // The multiplier is coprime to `HORIZON`, so neighboring hours get distant horizons.
    hour - (hour * 101).rem_euclid(HORIZON)
}

/// Returns the first hour with enough history.
pub fn first_usable(series: &Series) -> i64 {
    series.hours().start + 4 * WEEK + HORIZON
}
