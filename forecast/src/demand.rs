//! Forecasts the number of trips by borough and pickup hour: fits a model, evaluates it on held-out weeks, and
//! predicts.

use crate::calendar::WEEK;
use crate::features::{COUNT, HORIZON, NAMES, first_usable, naive, seen, training_origin};
use crate::interval::{Band, Interval, Spread};
use crate::series::Series;
use crate::trees::{Loss, Rows, Settings, Trees};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Minimum mean number of trips per hour for a borough to be evaluated. For quieter boroughs, repeating last week's
/// count is as accurate as any model.
pub const LEAST_TRIPS: f64 = 0.25;

/// Few and shallow trees, because most of the variation that the calendar does not explain is noise.
pub const SETTINGS: Settings =
    Settings { loss: Loss::Poisson, rounds: 80, depth: 3, rate: 0.07, leaf_rows: 60, ridge: 5.0 };

/// Splits a range of hours into training, calibration and held-out hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub first: i64,
    /// Exclusive end of the range: the first hour without data.
    pub end: i64,
    /// Number of weeks at the end of the range that are held out to evaluate the model.
    pub held_out_weeks: i64,
    /// Number of weeks before the held-out weeks whose errors determine the width of the prediction intervals.
    pub calibration_weeks: i64,
}

impl Plan {
    pub fn held_out(self) -> Range<i64> {
        self.end - self.held_out_weeks * WEEK..self.end
    }

    pub fn calibration(self) -> Range<i64> {
        let end = self.held_out().start;
        end - self.calibration_weeks * WEEK..end
    }

    pub fn training(self) -> Range<i64> {
        self.first..self.calibration().start
    }
}

/// Quality metrics of a model, measured on the held-out weeks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub hours: usize,
    pub mean: f64,
    pub mae: f64,
    pub naive_mae: f64,
    /// Mean absolute scaled error: `mae` divided by `naive_mae`, the error of repeating the count of one week earlier.
    pub mase: f64,
    /// Mean absolute scaled error after Hyndman and Koehler: `mae` divided by the naive error in the training weeks.
    pub mase_of_training: f64,
    /// Fraction of hours whose actual count is inside the 80 % interval.
    pub coverage: f64,
}

impl Judged {
    /// Returns true if the model's error is smaller than the error of repeating the count of one week earlier.
    pub fn is_good(&self) -> bool {
        self.mae < self.naive_mae
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Borough {
    pub trees: Trees,
    pub band: Band,
    pub judged: Judged,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub features: Vec<String>,
    pub plan: Plan,
    pub boroughs: BTreeMap<String, Borough>,
    /// Quality over all evaluated boroughs together.
    pub judged: Judged,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TooLittle {
    /// There are fewer training weeks than required.
    Weeks { known: i64, needed: i64 },
    /// No borough has enough trips to be evaluated.
    Trips,
}

/// Default number of weeks for evaluation, and also for calibration. Eight weeks usually contain a holiday, so the
/// measured errors include one.
pub const HELD_OUT_WEEKS: i64 = 8;
const LEAST_WEEKS: i64 = 8;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    pub mean: f64,
    /// `None` if there are too few past errors to estimate an interval.
    pub band: Option<Band>,
}

impl Expected {
    /// Returns the forecast for a fraction of the trips, such as the trips of one zone in a borough. The interval uses
    /// the error distribution of the whole borough, scaled to the smaller mean.
    #[must_use]
    pub fn part(self, share: f64) -> Expected {
        Expected { mean: self.mean * share, ..self }
    }

    pub fn of_80(&self) -> Option<Interval> {
        self.band.map(|band| band.of_80(self.mean))
    }

    pub fn of_99(&self) -> Option<Interval> {
        self.band.map(|band| band.of_99(self.mean))
    }

    /// Returns a confidence from 0 to 1: the mean divided by the sum of the mean and half the width of the 80 %
    /// interval. It is 1 if the interval has no width, and 0.5 if half the width equals the mean.
    pub fn confidence(&self) -> Option<f64> {
        let interval = self.of_80()?;
        let half = (interval.upper - interval.lower) / 2.0;
        Some(if self.mean > 0.0 { self.mean / (self.mean + half) } else { 0.0 })
    }
}

/// Returns the naive forecast for each hour from `origin`: the count one week earlier, or `None` if that count is
/// unknown. The intervals are estimated from the eight weeks before `origin`.
pub fn seasonal_naive(series: &Series, origin: i64) -> Vec<Option<Expected>> {
    let past = series.before(origin);
    let pairs = (origin - 8 * WEEK..origin).filter_map(|hour| Some((past.at(hour - WEEK)?, past.at(hour)?)));
    let pairs: Vec<(f64, f64)> = pairs.collect();
    let band = Band::of(Spread::of(&pairs), &pairs);
    (origin..origin + HORIZON).map(|hour| Some(Expected { mean: naive(&past, hour)?, band })).collect()
}

impl Model {
    /// Fits the model twice: without the calibration and held-out weeks to measure its quality, and on all weeks for
    /// the forecasts.
    ///
    /// # Errors
    /// Returns the reason if there is too little data.
    pub fn fit(boroughs: &BTreeMap<String, Series>, plan: Plan) -> Result<Model, TooLittle> {
        let first = boroughs.values().map(|series| first_usable(series).max(plan.first)).min().unwrap_or(plan.end);
        let plan = Plan { first, ..plan };
        let hours = boroughs.values().map(|series| series.over(plan.training()).1 as i64).max().unwrap_or_default();
        let known = hours / WEEK;
        if known < LEAST_WEEKS {
            return Err(TooLittle::Weeks { known, needed: LEAST_WEEKS });
        }
        let mut models = BTreeMap::new();
        let mut totals = Totals::default();
        for (name, series) in boroughs {
            let early = trees(series, plan.training());
            let tried = |weeks: Range<i64>| Tried::of(&early, series, weeks);
            let (calibration, held_out) = (tried(plan.calibration()), tried(plan.held_out()));
            let Some(band) = calibration.band() else { continue };
            let of = Totals::of(series, &held_out, band, plan.training());
            let judged = of.judged();
            if judged.mean >= LEAST_TRIPS {
                totals.add(&of);
            }
            // `pairs` contains only errors on hours that were not used for training.
            let pairs = [calibration.pairs(), held_out.pairs()].concat();
            let band = Band::of(Spread::of(&pairs), &pairs).unwrap_or(band);
            models.insert(name.clone(), Borough { trees: trees(series, first..plan.end), band, judged });
        }
        if totals.hours == 0 {
            return Err(TooLittle::Trips);
        }
        let features = NAMES.map(str::to_owned).to_vec();
        Ok(Model { features, plan, boroughs: models, judged: totals.judged() })
    }

    /// Returns true if the model's error is smaller than the error of repeating the count of one week earlier.
    pub fn is_good(&self) -> bool {
        self.judged.is_good()
    }

    /// Returns the forecasts for `HORIZON` hours from `origin`. `None` if the model does not contain the borough.
    pub fn forecast(&self, name: &str, series: &Series, origin: i64) -> Option<Vec<Expected>> {
        let borough = self.boroughs.get(name)?;
        let past = series.before(origin);
        let hour = |hour| {
            let seen = seen(&past, hour);
            Expected { mean: borough.trees.mean(&seen.features, seen.start), band: Some(borough.band) }
        };
        Some((origin..origin + HORIZON).map(hour).collect())
    }
}

fn trees(series: &Series, hours: Range<i64>) -> Trees {
    let mut rows = Rows { columns: vec![Vec::new(); COUNT], ..Rows::default() };
    for hour in hours {
        let Some(count) = series.at(hour) else { continue };
        let seen = seen(&series.before(training_origin(hour)), hour);
        rows.push(&seen.features, count, seen.start);
    }
    Trees::fit(SETTINGS, &rows)
}

/// Prediction, actual count and naive forecast of each hour in unseen weeks. Each prediction reads only hours before
/// its week.
#[derive(Debug, Default)]
struct Tried(Vec<(f64, f64, Option<f64>)>);

impl Tried {
    fn of(trees: &Trees, series: &Series, weeks: Range<i64>) -> Tried {
        let mut tried = Vec::new();
        for hour in weeks.clone() {
            let past = series.before(hour - (hour - weeks.start) % HORIZON);
            let Some(actual) = series.at(hour) else { continue };
            let seen = seen(&past, hour);
            tried.push((trees.mean(&seen.features, seen.start), actual, naive(&past, hour)));
        }
        Tried(tried)
    }

    fn pairs(&self) -> Vec<(f64, f64)> {
        self.0.iter().map(|(mean, actual, _)| (*mean, *actual)).collect()
    }

    fn band(&self) -> Option<Band> {
        let pairs = self.pairs();
        Band::of(Spread::of(&pairs), &pairs)
    }
}

#[derive(Debug, Default)]
struct Totals {
    hours: usize,
    trips: f64,
    errors: f64,
    naive_errors: f64,
    /// Sum over the evaluated hours of the mean naive error in the training weeks.
    training_errors: f64,
    inside: usize,
}

impl Totals {
    fn of(series: &Series, tried: &Tried, band: Band, training: Range<i64>) -> Totals {
        let pairs = training.filter_map(|hour| Some((series.at(hour)? - series.at(hour - WEEK)?).abs()));
        let (sum, count) = pairs.fold((0.0, 0.0), |(sum, count), error| (sum + error, count + 1.0));
        let of_training: f64 = if count > 0.0 { sum / count } else { 0.0 };
        let mut totals = Totals::default();
        for (mean, actual, naive) in &tried.0 {
            // Hours without a naive forecast are skipped, so that the model's error and the naive error cover the same
            // hours.
            let Some(naive) = naive else { continue };
            totals.hours += 1;
            totals.trips += actual;
            totals.errors += (actual - mean).abs();
            totals.naive_errors += (actual - naive).abs();
            totals.training_errors += of_training;
            totals.inside += usize::from(band.of_80(*mean).has(*actual));
        }
        totals
    }

    fn add(&mut self, other: &Totals) {
        self.hours += other.hours;
        self.trips += other.trips;
        self.errors += other.errors;
        self.naive_errors += other.naive_errors;
        self.training_errors += other.training_errors;
        self.inside += other.inside;
    }

    fn judged(&self) -> Judged {
        let by = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
        let hours = self.hours as f64;
        Judged {
            hours: self.hours,
            mean: by(self.trips, hours),
            mae: by(self.errors, hours),
            naive_mae: by(self.naive_errors, hours),
            // If the naive forecast has no error, no model can be better than it.
            mase: if self.naive_errors > 0.0 { self.errors / self.naive_errors } else { 1.0 },
            mase_of_training: by(self.errors, self.training_errors),
            coverage: by(self.inside as f64, hours),
        }
    }
}
