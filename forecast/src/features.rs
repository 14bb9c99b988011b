//! Computes the features of a future hour from the calendar and from counts before the forecast origin.

use crate::calendar::{DAY, WEEK, date, hour_of_day, hour_of_week, is_holiday, is_weekend};
use crate::series::{PastSeries, Series};
use chrono::TimeDelta;

/// Number of hours that a forecast covers. One week, so that the count of the same hour one week earlier is always
/// before the origin.
pub const HORIZON: i64 = WEEK;
/// Maximum number of hours before an hour that its features depend on.
pub const LOOK_BACK: i64 = 9 * WEEK;

/// Names of the feature columns, in order. Each model stores these names, so a model is never applied to features that
/// it was not trained on.
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

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HourFeatures {
    pub features: [f64; COUNT],
    /// Logarithm of the mean count in the weekly profile, which the trees start from.
    pub start: f64,
}

/// Returns the features of an hour at or after the forecast origin.
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
    // Adds one pseudo-observation at the mean level, so that a profile of zero counts is not 0.
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

/// Returns the naive forecast: the count of the same hour one week earlier. `None` if it is unknown.
pub fn naive(past: &PastSeries<'_>, hour: i64) -> Option<f64> {
    past.at(hour - WEEK)
}

/// Returns the forecast origin that is assumed for a training hour. Consecutive hours get different horizons between 1
/// and 168 hours, so one row per hour is enough to learn all horizons.
pub fn training_origin(hour: i64) -> i64 {
    // The multiplier is coprime to `HORIZON`, so every horizon occurs and neighboring hours get distant horizons.
    hour - (hour * 101).rem_euclid(HORIZON)
}

/// Returns the first hour that has enough history for a training row.
pub fn first_usable(series: &Series) -> i64 {
    series.hours().start + 4 * WEEK + HORIZON
}
