//! Prediction intervals by split conformal prediction: quantiles of the errors on unseen hours, scaled by the expected
//! standard deviation of a count.

use serde::{Deserialize, Serialize};

/// Minimum number of errors to estimate quantiles.
pub const LEAST_SCORES: usize = 200;

/// A prediction interval around a forecast, inclusive at both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub lower: f64,
    pub upper: f64,
}

impl Interval {
    pub fn has(self, value: f64) -> bool {
        (self.lower..=self.upper).contains(&value)
    }
}

/// Variance model for counts: the Poisson variance (the mean) plus a share of the squared mean (overdispersion).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    share: f64,
}

impl Spread {
    /// Estimates the overdispersion from pairs of predicted mean and actual count.
    pub fn of(pairs: &[(f64, f64)]) -> Spread {
        let (mut beyond, mut squares) = (0.0, 0.0);
        for (mean, actual) in pairs {
            beyond += (actual - mean).powi(2) - mean;
            squares += mean * mean;
        }
        Spread { share: if squares > 0.0 { (beyond / squares).max(0.0) } else { 0.0 } }
    }

    fn around(self, mean: f64) -> f64 {
        // The constant 0.5 avoids a standard deviation near 0 for means near 0.
        (mean + self.share * mean * mean + 0.5).sqrt()
    }

    pub fn score(self, mean: f64, actual: f64) -> f64 {
        (actual - mean) / self.around(mean)
    }
}

/// Prediction interval of a model, as quantiles of its normalized errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    spread: Spread,
    /// Lower and upper quantile for the 80 % and the 99 % interval.
    ends: [(f64, f64); 2],
}

impl Band {
    /// Computes the error quantiles from pairs of mean and actual count. Returns `None` if there are fewer than
    /// `LEAST_SCORES` pairs.
    pub fn of(spread: Spread, pairs: &[(f64, f64)]) -> Option<Band> {
        let mut scores: Vec<f64> = pairs.iter().map(|(mean, actual)| spread.score(*mean, *actual)).collect();
        scores.sort_by(f64::total_cmp);
        let ends = |share: f64| (quantile(&scores, (1.0 - share) / 2.0), quantile(&scores, f64::midpoint(1.0, share)));
        (scores.len() >= LEAST_SCORES).then(|| Band { spread, ends: [ends(0.80), ends(0.99)] })
    }

    /// Returns the interval that is expected to contain 80 % of the actual counts.
    pub fn of_80(&self, mean: f64) -> Interval {
        self.interval(mean, self.ends[0])
    }

    /// Returns the interval that is expected to contain 99 % of the actual counts.
    pub fn of_99(&self, mean: f64) -> Interval {
        self.interval(mean, self.ends[1])
    }

    fn interval(&self, mean: f64, (lower, upper): (f64, f64)) -> Interval {
        let around = self.spread.around(mean);
        // The clamps ensure that the interval contains the forecast and is never negative.
        Interval { lower: (mean + lower * around).clamp(0.0, mean), upper: (mean + upper * around).max(mean) }
    }
}

/// Returns a quantile of sorted values, with linear interpolation between neighboring values.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len().max(1) - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(low), sorted.get(high)) {
        (Some(one), Some(other)) => one + (other - one) * place.fract(),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_has_as_many_of_the_errors_as_it_says() {
        let pairs: Vec<(f64, f64)> = (0..1_000).map(|at| (10.0, f64::from(at) / 50.0)).collect();
        let band = Band::of(Spread::of(&pairs), &pairs).expect("enough");
        let has = |of: fn(&Band, f64) -> Interval| {
            pairs.iter().filter(|(mean, actual)| of(&band, *mean).has(*actual)).count()
        };
        assert_eq!((has(Band::of_80), has(Band::of_99)), (800, 990));
        assert!(Band::of(Spread::of(&pairs), &pairs[..LEAST_SCORES - 1]).is_none());
        let lowest = band.of_99(0.1);
        assert!(lowest.lower >= 0.0 && lowest.has(0.1));
    }

    #[test]
    fn quantiles_lie_between_values() {
        let found = [0.0, 0.5, 0.75, 1.0].map(|share| quantile(&[1.0, 2.0, 4.0], share));
        assert_eq!(format!("{found:?}"), "[1.0, 2.0, 3.0, 4.0]");
        assert!(quantile(&[], 0.5).abs() < f64::EPSILON);
    }
}
