//! How many trips will begin, by borough and hour: fitted, judged on weeks that the model did not see, and forecast.

use crate::calendar::WEEK;
use crate::features::{COUNT, HORIZON, NAMES, first_usable, naive, seen, training_origin};
use crate::interval::{Band, Interval, Spread};
use crate::series::Series;
use crate::trees::{Loss, Rows, Settings, Trees};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// A place with fewer trips an hour is not judged by itself: of one trip in four hours a week ago says as much as any model.
pub const LEAST_TRIPS: f64 = 0.25;

/// Small trees and few of them: most of what is left of an hour is chance.
pub const SETTINGS: Settings =
    Settings { loss: Loss::Poisson, rounds: 80, depth: 3, rate: 0.07, leaf_rows: 60, ridge: 5.0 };

/// Which hours are learnt from, and which are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The first hour to learn from.
    pub first: i64,
    /// The first hour that is not known yet.
    pub end: i64,
    /// So many weeks before the end are held out: what the model is judged by.
    pub held_out_weeks: i64,
    /// So many weeks before these say how wide the intervals are.
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

/// How good a model was on the weeks that were held out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub hours: usize,
    /// Trips of an hour.
    pub mean: f64,
    /// The mean absolute error, and that of the same hour a week before.
    pub mae: f64,
    pub naive_mae: f64,
    /// The one by the other.
    pub mase: f64,
    /// The error by that of a week before in the weeks that were learnt from, as Hyndman and Koehler have it.
    pub mase_of_training: f64,
    /// The share of hours inside the interval of 80 %.
    pub coverage: f64,
}

impl Judged {
    /// Better than the same hour a week before.
    pub fn is_good(&self) -> bool {
        self.mae < self.naive_mae
    }
}

/// The model of one borough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Borough {
    pub trees: Trees,
    pub band: Band,
    pub judged: Judged,
}

/// The models of all boroughs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub features: Vec<String>,
    pub plan: Plan,
    pub boroughs: BTreeMap<String, Borough>,
    /// Over all that are judged.
    pub judged: Judged,
}

/// Why no model can be fitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TooLittle {
    /// So many weeks are needed before those held out; there are fewer.
    Weeks { known: i64, needed: i64 },
    /// No borough has enough trips to be judged.
    Trips,
}

/// Weeks that are held out, and as many for the intervals, where a run does not say otherwise: both have a holiday in them, or
/// the next one is nowhere in the errors.
pub const HELD_OUT_WEEKS: i64 = 8;
/// Weeks to learn from, at least.
const LEAST_WEEKS: i64 = 8;

/// An hour to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    pub mean: f64,
    /// `None`: too little is known to say how far off it may be.
    pub band: Option<Band>,
}

impl Expected {
    /// A part of it, such as a zone of a borough. Its errors are those of the whole by its size.
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

    /// How narrow the interval of 80 % is: 1 is a point, one half an interval that goes as far to each side as there are trips.
    pub fn confidence(&self) -> Option<f64> {
        let interval = self.of_80()?;
        let half = (interval.upper - interval.lower) / 2.0;
        Some(if self.mean > 0.0 { self.mean / (self.mean + half) } else { 0.0 })
    }
}

/// As many as a week before, for the hours from an origin on. `None`: that hour is not known. How far off it may be is told by
/// the weeks before the origin.
pub fn seasonal_naive(series: &Series, origin: i64) -> Vec<Option<Expected>> {
    let past = series.before(origin);
    let pairs = (origin - 8 * WEEK..origin).filter_map(|hour| Some((past.at(hour - WEEK)?, past.at(hour)?)));
    let pairs: Vec<(f64, f64)> = pairs.collect();
    let band = Band::of(Spread::of(&pairs), &pairs);
    (origin..origin + HORIZON).map(|hour| Some(Expected { mean: naive(&past, hour)?, band })).collect()
}

impl Model {
    /// Fits twice: without the weeks of calibration and those held out, which says how good it is, and with all.
    ///
    /// # Errors
    /// There is too little to learn from.
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
            // All errors that no model has learnt from.
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

    /// It is better than the same hour a week before.
    pub fn is_good(&self) -> bool {
        self.judged.is_good()
    }

    /// The hours from an origin on, as far as a forecast goes. `None`: the model does not know the borough.
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

/// What a model said of weeks that it did not see, each from its own first hour on, and what came.
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

/// Errors, added up.
#[derive(Debug, Default)]
struct Totals {
    hours: usize,
    trips: f64,
    errors: f64,
    naive_errors: f64,
    /// Errors of a week before in the weeks that were learnt from, of an hour, for each hour here.
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
            // Both are judged by the same hours.
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
            // What never errs cannot be beaten.
            mase: if self.naive_errors > 0.0 { self.errors / self.naive_errors } else { 1.0 },
            mase_of_training: by(self.errors, self.training_errors),
            coverage: by(self.inside as f64, hours),
        }
    }
}
