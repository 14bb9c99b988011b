//! Shares of a borough's trips per pickup zone, by hour of the day, separately for working days and weekends.

use crate::calendar::{DAY, date, hour_of_day, is_weekend};
use std::ops::Range;

const CLASSES: usize = 48;
/// Weight of the prior, in trips of the borough. In classes with few trips, a zone's share is close to its overall
/// share.
const WEIGHT: f64 = 50.0;

/// Shares per class and zone. They add up to 1 in each class.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(Vec<Vec<f64>>);

fn class(hour: i64) -> usize {
    let of_day = if is_weekend(date(hour)) { hour_of_day(hour) + DAY } else { hour_of_day(hour) };
    of_day as usize
}

impl Shares {
    /// Computes the shares from the counts of these hours. Unknown hours are ignored.
    pub fn of(zones: usize, hours: Range<i64>, count: impl Fn(usize, i64) -> Option<f64>) -> Shares {
        let mut counted = vec![vec![0.0; zones]; CLASSES];
        for hour in hours {
            let of_class = &mut counted[class(hour)];
            (0..zones).for_each(|zone| of_class[zone] += count(zone, hour).unwrap_or_default());
        }
        let of_zone: Vec<f64> = (0..zones).map(|zone| counted.iter().map(|class| class[zone]).sum()).collect();
        let all: f64 = of_zone.iter().sum();
        // Smoothing keeps the share of zones without trips above 0.
        let usual: Vec<f64> = of_zone.iter().map(|trips| (trips + 0.5) / (all + 0.5 * zones as f64)).collect();
        let shares = counted.iter().map(|class| {
            let sum: f64 = class.iter().sum();
            class.iter().zip(&usual).map(|(trips, usual)| (trips + WEIGHT * usual) / (sum + WEIGHT)).collect()
        });
        Shares(shares.collect())
    }

    pub fn at(&self, zone: usize, hour: i64) -> f64 {
        self.0[class(hour)][zone]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_borough_are_the_whole() {
        // At night all trips start in the first zone; by day four times as many start in the second. The third has
        // none.
        let count = |zone: usize, hour: i64| {
            let night = hour_of_day(hour) < 6;
            (hour < 336).then(|| if night { [100.0, 0.0, 0.0][zone] } else { [20.0, 80.0, 0.0][zone] })
        };
        let shares = Shares::of(3, 0..400, count);
        for hour in 0..168 {
            let sum: f64 = (0..3).map(|zone| shares.at(zone, hour)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{hour}: {sum}");
        }
        assert!(shares.at(0, 3) > 0.9 && shares.at(1, 12) > 0.7 && shares.at(2, 12) > 0.0);
        let of_nothing = Shares::of(4, 0..10, |_, _| None);
        assert!((of_nothing.at(3, 5) - 0.25).abs() < 1e-12);
    }
}
