//! Splits the trips of a borough among its zones: the fraction of trips that start in each zone, by hour of the day,
//! separately for working days and weekends.

use crate::calendar::{DAY, date, hour_of_day, is_weekend};
use std::ops::Range;

const CLASSES: usize = 48;
/// Weight of the prior, as a number of trips in the borough. If an hour class has few trips, each zone's share is close
/// to its overall share.
const WEIGHT: f64 = 50.0;

/// Fraction of the borough's trips by hour class and zone. The fractions of an hour class add up to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(Vec<Vec<f64>>);

fn class(hour: i64) -> usize {
    let of_day = if is_weekend(date(hour)) { hour_of_day(hour) + DAY } else { hour_of_day(hour) };
    of_day as usize
}

impl Shares {
    /// Computes the fraction of trips per zone from the counts in a range of hours. Hours without a known count are
    /// ignored.
    pub fn of(zones: usize, hours: Range<i64>, count: impl Fn(usize, i64) -> Option<f64>) -> Shares {
        let mut counted = vec![vec![0.0; zones]; CLASSES];
        for hour in hours {
            let of_class = &mut counted[class(hour)];
            (0..zones).for_each(|zone| of_class[zone] += count(zone, hour).unwrap_or_default());
        }
        let of_zone: Vec<f64> = (0..zones).map(|zone| counted.iter().map(|class| class[zone]).sum()).collect();
        let all: f64 = of_zone.iter().sum();
        // Additive smoothing ensures that zones without trips have a share above 0.
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
        // At night all trips start in the first zone. By day, four times as many trips start in the second zone as in
        // the first. No trips start in the third zone.
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
