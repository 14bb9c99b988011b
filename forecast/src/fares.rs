//! Predicts the fare of a trip from what is known at its start and from the distance. The baseline is a linear model of
//! the distance alone.

use crate::interval::{Interval, LEAST_SCORES, quantile};
use crate::trees::{Loss, Rows, Settings, Trees};
use serde::{Deserialize, Serialize};

/// Names of the feature columns, in order. The duration is excluded because it is known only after the trip. Mean fares
/// of other trips are excluded because in groups without other trips they would equal the trip's own fare.
pub const NAMES: [&str; COUNT] = [
    "trip_distance",
    "zone_distance_km",
    "pickup_zone_id",
    "dropoff_zone_id",
    "pickup_borough_encoded",
    "dropoff_borough_encoded",
    "is_airport_trip",
    "is_cross_borough",
    "pickup_hour",
    "pickup_day_of_week",
    "passenger_count",
    "is_bad_weather",
    "surge_factor",
];
pub const COUNT: usize = 13;

pub const SETTINGS: Settings =
    Settings { loss: Loss::Squared, rounds: 80, depth: 4, rate: 0.1, leaf_rows: 20, ridge: 5.0 };

pub const LEAST_TRIPS: usize = 1_000;
/// Maximum fare for training, in dollars. Larger fares are clipped to it, because a single wrong meter reading would
/// distort the model.
const MOST_LEARNT: f64 = 250.0;
/// Minimum metered fare in dollars. Relative errors divide by the fare, or by this amount if the fare is smaller.
const LEAST_FARE: f64 = 2.5;

#[derive(Debug, Clone, PartialEq)]
pub struct Trip {
    pub features: [f64; COUNT],
    pub fare: f64,
}

/// Quality metrics of a model, measured on the held-out trips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub trips: usize,
    pub mae: f64,
    /// Mean absolute error of the linear baseline.
    pub baseline_mae: f64,
    pub coverage: f64,
}

/// A linear fare model: base fare and price per mile, in dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct MileFare {
    start: f64,
    mile: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub features: Vec<String>,
    line: MileFare,
    trees: Trees,
    /// Lower and upper quantile of the relative errors, for the 80 % and the 99 % interval.
    ends: [(f64, f64); 2],
    pub judged: Judged,
}

/// The predicted fare of a trip with its prediction intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    pub mean: f64,
    pub of_80: Interval,
    pub of_99: Interval,
}

impl Model {
    /// Trains on `learnt`, sets the interval widths from the errors on `calibration`, and evaluates on `held_out`.
    /// Returns `None` if there are too few trips.
    pub fn fit(learnt: &[Trip], calibration: &[Trip], held_out: &[Trip]) -> Option<Model> {
        if learnt.len() < LEAST_TRIPS || calibration.len() < LEAST_SCORES || held_out.len() < LEAST_SCORES {
            return None;
        }
        let line = MileFare::through(learnt);
        let mut rows = Rows::default();
        learnt.iter().for_each(|trip| rows.push(&trip.features, trip.fare.min(MOST_LEARNT), line.at(trip)));
        let trees = Trees::fit(SETTINGS, &rows);
        let judged = Judged { trips: held_out.len(), mae: 0.0, baseline_mae: 0.0, coverage: 0.0 };
        let features = NAMES.map(str::to_owned).to_vec();
        let mut model = Model { features, line, trees, ends: [(0.0, 0.0); 2], judged };
        let mut scores: Vec<f64> = calibration.iter().map(|trip| model.score(trip)).collect();
        scores.sort_by(f64::total_cmp);
        let ends = |share: f64| (quantile(&scores, (1.0 - share) / 2.0), quantile(&scores, f64::midpoint(1.0, share)));
        model.ends = [ends(0.80), ends(0.99)];
        let mean = |of: &dyn Fn(&Trip) -> f64| held_out.iter().map(of).sum::<f64>() / held_out.len() as f64;
        model.judged.mae = mean(&|trip| (trip.fare - model.mean(trip)).abs());
        model.judged.baseline_mae = mean(&|trip| (trip.fare - line.at(trip)).abs());
        model.judged.coverage = mean(&|trip| f64::from(u8::from(model.expected(trip).of_80.has(trip.fare))));
        Some(model)
    }

    /// Returns true if the model's error is smaller than the error of the linear baseline.
    pub fn is_good(&self) -> bool {
        self.judged.mae < self.judged.baseline_mae
    }

    pub fn expected(&self, trip: &Trip) -> Expected {
        let mean = self.mean(trip);
        let by = mean.max(LEAST_FARE);
        let of = |(lower, upper): (f64, f64)| Interval {
            lower: (mean + lower * by).clamp(0.0, mean.max(0.0)),
            upper: (mean + upper * by).max(mean),
        };
        Expected { mean, of_80: of(self.ends[0]), of_99: of(self.ends[1]) }
    }

    fn mean(&self, trip: &Trip) -> f64 {
        self.trees.mean(&trip.features, self.line.at(trip))
    }

    fn score(&self, trip: &Trip) -> f64 {
        let mean = self.mean(trip);
        (trip.fare - mean) / mean.max(LEAST_FARE)
    }
}

impl MileFare {
    /// Fits base fare and price per mile by least squares.
    fn through(trips: &[Trip]) -> MileFare {
        let mean = |of: &dyn Fn(&Trip) -> f64| trips.iter().map(of).sum::<f64>() / trips.len() as f64;
        let (miles, fare) = (mean(&|trip| trip.features[0]), mean(&|trip| trip.fare.min(MOST_LEARNT)));
        let both = mean(&|trip| (trip.features[0] - miles) * (trip.fare.min(MOST_LEARNT) - fare));
        let squares = mean(&|trip| (trip.features[0] - miles).powi(2));
        let mile = if squares > 0.0 { both / squares } else { 0.0 };
        MileFare { start: fare - mile * miles, mile }
    }

    fn at(self, trip: &Trip) -> f64 {
        self.start + self.mile * trip.features[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trips that cost $3 plus $2 per mile, $10 more from an airport, and up to 50 cents of noise.
    fn trips(count: u32) -> Vec<Trip> {
        let trip = |number: u32| {
            let mut features = [0.0; COUNT];
            features[0] = f64::from(number * 7 % 100) / 10.0;
            features[6] = f64::from(u8::from(number.is_multiple_of(5)));
            let chance = f64::from(number * 31 % 50) / 100.0;
            Trip { fare: 3.0 + 2.0 * features[0] + 10.0 * features[6] + chance, features }
        };
        (0..count).map(trip).collect()
    }

    #[test]
    fn an_airport_costs_more_than_a_line_can_say() {
        let all = trips(3_000);
        let model = Model::fit(&all[..2_000], &all[2_000..2_500], &all[2_500..]).expect("enough");
        assert!(model.is_good() && model.judged.mae < 0.4 && model.judged.baseline_mae > 2.0, "{:?}", model.judged);
        assert!((0.75..=0.85).contains(&model.judged.coverage), "{:?}", model.judged);
        let expected = model.expected(&all[5]);
        let dear = Trip { fare: 200.0, ..all[5].clone() };
        assert!(expected.of_99.has(all[5].fare) && !expected.of_99.has(dear.fare), "{expected:?}");
        assert!(Model::fit(&all[..999], &all, &all).is_none() && Model::fit(&all, &all[..10], &all).is_none());
    }
}
