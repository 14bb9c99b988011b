//! Forecasts against what came: how far off they were each day, and hours in which far more or fewer trips began than a
//! forecast held possible.

use super::made::BoroughForecasts;
use crate::common::nyc::grid::HOUR;
use crate::common::nyc::grid::split;
use crate::common::nyc::table::{Table, clock, computed, date, int, long, maybe_number, number, text, truth};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use iceberg::spec::Transform::Identity;
use orch_forecast::calendar::WEEK;
use orch_forecast::series::Series;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A day on which the error was so many times that of the weeks held out is far off. By chance that is less than one day in a
/// hundred: of days drawn with half a trip, one trip and a dozen an hour, one to six in a thousand.
const BOUND: f64 = 1.5;
/// Fewer hours of a day say little.
const LEAST_HOURS: i32 = 12;

/// A day of a borough.
#[derive(Debug, PartialEq)]
pub struct Day {
    day: NaiveDate,
    borough: String,
    hours: i32,
    error: f64,
    naive_error: Option<f64>,
    expected: Option<f64>,
    version: Arc<str>,
}

impl Day {
    fn ratio(&self) -> Option<f64> {
        self.expected.filter(|expected| *expected > 0.0).map(|expected| self.error / expected)
    }

    fn is_drifted(&self) -> bool {
        self.hours >= LEAST_HOURS && self.ratio().is_some_and(|ratio| ratio > BOUND)
    }

    /// For the log of the task, if people should know.
    pub fn drift_warning(&self) -> Option<String> {
        let Day { day, borough, error, .. } = self;
        let ratio = self.ratio().filter(|_| self.is_drifted())?;
        Some(format!(
            "{borough}, {day}: forecasts were {error:.1} trips an hour off, {ratio:.1} times as much as expected"
        ))
    }
}

pub static DRIFT: Table<Day> = Table {
    namespace: "ml",
    name: "forecast_drift",
    key: &["day", "borough"],
    partition: &[],
    day: "day",
    columns: &[
        date("day", |of| of.day),
        text("borough", |of| &of.borough),
        int("hours", |of| of.hours),
        number("mae", |of| of.error),
        maybe_number("naive_mae", |of| of.naive_error),
        maybe_number("expected_error", |of| of.expected),
        maybe_number("ratio", Day::ratio),
        truth("is_drifted", Day::is_drifted),
        text("model_version", |of| &of.version),
        computed("created_at"),
    ],
    chart: "select day, avg(ratio) as \"error by that expected\" from ml.forecast_drift group by 1 order by 1 desc limit 60",
};

/// An hour of a borough that was far from what was expected.
#[derive(Debug, PartialEq)]
pub struct Unusual {
    hour: i64,
    borough: String,
    actual: i64,
    expected: f64,
    lower: f64,
    upper: f64,
    version: Arc<str>,
}

impl Unusual {
    fn at(&self) -> NaiveDateTime {
        DateTime::from_timestamp_micros(self.hour * HOUR).unwrap_or_default().naive_utc()
    }

    fn kind(&self) -> &str {
        if self.actual as f64 > self.upper { "more" } else { "fewer" }
    }
}

pub static ANOMALIES: Table<Unusual> = Table {
    namespace: "ml",
    name: "anomalies",
    key: &["anomaly_hour", "borough"],
    partition: &[("kind", Identity)],
    day: "anomaly_hour",
    columns: &[
        clock("anomaly_hour", Unusual::at),
        text("borough", |of| &of.borough),
        text("kind", Unusual::kind),
        long("actual", |of| of.actual),
        number("expected", |of| of.expected),
        number("lower", |of| of.lower),
        number("upper", |of| of.upper),
        text("model_version", |of| &of.version),
        computed("created_at"),
    ],
    chart: "select borough, count(*) as hours from ml.anomalies group by 1 order by 2 desc",
};

/// What became of forecasts. Hours that are not known are left out.
pub fn judge(said: &BoroughForecasts, actual: &BTreeMap<String, Series>) -> (Vec<Day>, Vec<Unusual>) {
    let mut days: BTreeMap<(NaiveDate, &str), Day> = BTreeMap::new();
    // Errors of a week before, and how many.
    let mut naive: BTreeMap<(NaiveDate, &str), (f64, f64)> = BTreeMap::new();
    let mut unusual = Vec::new();
    for ((hour, borough), said) in said {
        let Some(series) = actual.get(borough) else { continue };
        let Some(came) = series.at(*hour) else { continue };
        let key = (split(*hour).0, borough.as_str());
        let day = days.entry(key).or_insert_with(|| Day {
            day: key.0,
            borough: borough.clone(),
            hours: 0,
            error: 0.0,
            naive_error: None,
            expected: said.error,
            version: said.version.clone(),
        });
        day.hours += 1;
        day.error += (came - said.demand).abs();
        if let Some(before) = series.at(hour - WEEK) {
            let (sum, count) = naive.entry(key).or_default();
            *sum += (came - before).abs();
            *count += 1.0;
        }
        if let Some((lower, upper)) = said.of_99.filter(|(lower, upper)| !(*lower..=*upper).contains(&came)) {
            let (borough, version) = (borough.clone(), said.version.clone());
            let (hour, expected) = (*hour, said.demand);
            unusual.push(Unusual { hour, borough, actual: came as i64, expected, lower, upper, version });
        }
    }
    for (key, day) in &mut days {
        day.error /= f64::from(day.hours);
        day.naive_error = naive.get(key).map(|(sum, count)| sum / count);
    }
    (days.into_values().collect(), unusual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::taxi::forecast::made::BoroughForecast;

    #[test]
    fn a_day_far_off_is_drift_and_an_hour_beyond_the_band_is_unusual() {
        let said = |demand: f64| BoroughForecast {
            reference: 0,
            demand,
            of_99: Some((demand - 5.0, demand + 5.0)),
            error: Some(1.0),
            version: "v".into(),
        };
        // The second week: twice as many on its second day, and an hour of the first one without trips. One is not known.
        let first = WEEK;
        let counts = |hour: i64| match hour - first {
            5 => Some(0),
            40 => None,
            24.. => Some(20),
            _ => Some(11),
        };
        let series = Series::new(0, (0..first + 48).map(counts).collect());
        let all = (first..first + 48).map(|hour| ((hour, "Queens".to_owned()), said(10.0))).collect();
        let (days, unusual) = judge(&all, &BTreeMap::from([("Queens".to_owned(), series)]));
        let told: Vec<_> = days.iter().map(|day| (day.hours, day.is_drifted(), day.ratio())).collect();
        assert_eq!(told, [(24, false, Some(33.0 / 24.0)), (23, true, Some(10.0))]);
        assert_eq!(days[0].naive_error, Some(11.0 / 24.0));
        assert_eq!((unusual[0].kind(), unusual[0].actual, unusual.len()), ("fewer", 0, 24));
        assert!(unusual[1..].iter().all(|of| of.kind() == "more" && of.at() >= days[1].day.into()));
        assert_eq!(judge(&all, &BTreeMap::new()), (Vec::new(), Vec::new()));
    }
}
