//! Trips by zone and hour. Hours without a trip count 0, except on days without a trip in the whole city: these days
//! were never loaded, and their counts are `None`.

use super::days::Days;
use std::ops::Range;

#[derive(Debug)]
pub struct Grid {
    hours: Range<i64>,
    zones: usize,
    /// All hours of the first zone, then all hours of the next.
    counts: Vec<u32>,
    is_loaded: Vec<bool>,
}

impl Grid {
    pub fn new(days: Days, zones: usize) -> Grid {
        let hours = days.hours();
        let count = usize::try_from(hours.end - hours.start).unwrap_or_default();
        Grid { hours, zones, counts: vec![0; count * zones], is_loaded: vec![false; count / 24] }
    }

    /// Adds trips that started in an hour. Trips in an unlisted zone (`None`) only mark the day as loaded.
    pub fn add(&mut self, zone: Option<usize>, hour: i64, trips: u32) {
        let Some(offset) = self.offset(hour) else { return };
        self.is_loaded[offset / 24] = true;
        if let Some(zone) = zone {
            let at = zone * self.hours_count() + offset;
            self.counts[at] += trips;
        }
    }

    pub fn demand(&self, zone: usize, hour: i64) -> Option<i64> {
        let offset = self.offset(hour).filter(|offset| zone < self.zones && self.is_loaded[offset / 24])?;
        Some(self.counts[zone * self.hours_count() + offset].into())
    }

    fn hours_count(&self) -> usize {
        self.is_loaded.len() * 24
    }

    fn offset(&self, hour: i64) -> Option<usize> {
        usize::try_from(hour - self.hours.start).ok().filter(|offset| *offset < self.hours_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_without_trips_count_and_days_that_were_never_loaded_do_not() {
        let days = Days { first: "2019-03-01".parse().expect("a day"), last: "2019-03-03".parse().expect("a day") };
        let mut grid = Grid::new(days, 2);
        let first = days.hours().start;
        for (zone, hour, trips) in [(Some(0), 0, 2), (Some(1), 1, 1), (None, 48, 1), (Some(1), 72, 1)] {
            grid.add(zone, first + hour, trips);
        }
        assert_eq!([0, 1].map(|zone| grid.demand(zone, first)), [Some(2), Some(0)]);
        assert_eq!([23, 24, 48, 72, -1].map(|hour| grid.demand(0, first + hour)), [Some(0), None, Some(0), None, None]);
        assert_eq!(grid.demand(2, first), None);
    }
}
