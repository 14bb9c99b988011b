//! How many trips began in each zone in each hour: every hour is there, so that an hour ago is one place before.
//!
//! Hours without a trip have none (0), but for days without a trip in the whole city: such a day was never loaded, and what
//! is not known is `None`.

use super::days::{DAY, Days, day_of};
use chrono::NaiveDate;
use std::ops::Range;

/// Microseconds.
pub const HOUR: i64 = 3_600_000_000;
const HOURS_A_DAY: i64 = DAY / HOUR;

/// The hour of a time on a clock without a zone, counted from 1970.
pub fn hour_of(micros: i64) -> i64 {
    micros.div_euclid(HOUR)
}

/// The day of an hour, and which of its hours it is.
pub fn split(hour: i64) -> (NaiveDate, i32) {
    (day_of(hour * HOUR), (hour.rem_euclid(24)) as i32)
}

#[derive(Debug)]
pub struct Grid {
    hours: Range<i64>,
    zones: usize,
    /// Zone by zone, each with all hours.
    counts: Vec<u32>,
    /// Of each day whether there was a trip.
    known: Vec<bool>,
}

impl Grid {
    pub fn new(days: Days, zones: usize) -> Grid {
        let (from, end) = days.micros();
        let hours = hour_of(from)..hour_of(end);
        let count = usize::try_from(hours.end - hours.start).unwrap_or_default();
        Grid { hours, zones, counts: vec![0; count * zones], known: vec![false; count / HOURS_A_DAY as usize] }
    }

    /// A trip that began then. `None`: in a zone that is in no list, so that it only says that the day is known.
    pub fn add(&mut self, zone: Option<usize>, micros: i64) {
        let hour = hour_of(micros);
        if let Some(day) = self.day(hour) {
            self.known[day] = true;
            if let Some(at) = zone.and_then(|zone| self.place(zone, hour)) {
                self.counts[at] += 1;
            }
        }
    }

    pub fn is_known(&self, hour: i64) -> bool {
        self.day(hour).is_some_and(|day| self.known[day])
    }

    pub fn demand(&self, zone: usize, hour: i64) -> Option<i64> {
        self.is_known(hour).then(|| self.place(zone, hour).map(|at| self.counts[at].into()))?
    }

    /// What is known of some hours.
    pub fn over(&self, zone: usize, hours: Range<i64>) -> Sums {
        let (mut sums, mut from) = (Sums::default(), hours.start.max(self.hours.start));
        let end = hours.end.min(self.hours.end);
        while from < end {
            // Of one day all hours are known, or none.
            let next = end.min(from + HOURS_A_DAY - (from - self.hours.start) % HOURS_A_DAY);
            if self.is_known(from)
                && let Some(at) = self.place(zone, from)
            {
                let counts = &self.counts[at..][..usize::try_from(next - from).unwrap_or_default()];
                sums.add(counts);
            }
            from = next;
        }
        sums
    }

    fn day(&self, hour: i64) -> Option<usize> {
        let hours = self.hours.contains(&hour).then(|| (hour - self.hours.start) / HOURS_A_DAY)?;
        usize::try_from(hours).ok()
    }

    fn place(&self, zone: usize, hour: i64) -> Option<usize> {
        let hours = usize::try_from(self.hours.end - self.hours.start).ok()?;
        let hour = usize::try_from(hour - self.hours.start).ok().filter(|hour| *hour < hours)?;
        (zone < self.zones).then_some(zone * hours + hour)
    }
}

/// Whole numbers, so that they are the same in whatever order they are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub hours: i64,
    /// Hours with a trip.
    pub busy: i64,
    pub trips: i64,
    squares: i64,
}

impl Sums {
    fn add(&mut self, counts: &[u32]) {
        for count in counts.iter().map(|count| i64::from(*count)) {
            self.hours += 1;
            self.busy += i64::from(count > 0);
            self.trips += count;
            self.squares += count * count;
        }
    }

    pub fn mean(self) -> Option<f64> {
        (self.hours > 0).then(|| self.trips as f64 / self.hours as f64)
    }

    /// Over the hours that had a trip.
    pub fn busy_mean(self) -> Option<f64> {
        (self.busy > 0).then(|| self.trips as f64 / self.busy as f64)
    }

    /// That of a sample, as SQL's `stddev`.
    pub fn deviation(self) -> Option<f64> {
        let spread = self.hours * self.squares - self.trips * self.trips;
        (self.hours > 1).then(|| (spread as f64 / (self.hours * (self.hours - 1)) as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_without_trips_count_and_days_that_were_never_loaded_do_not() {
        let days = Days { first: "2019-03-01".parse().expect("a day"), last: "2019-03-03".parse().expect("a day") };
        let mut grid = Grid::new(days, 2);
        let start = days.micros().0;
        for (zone, micros) in [(Some(0), 0), (Some(0), HOUR - 1), (Some(1), HOUR), (None, 2 * DAY), (Some(1), 3 * DAY)]
        {
            grid.add(zone, start + micros);
        }
        let first = hour_of(start);
        assert_eq!([0, 1].map(|zone| grid.demand(zone, first)), [Some(2), Some(0)]);
        assert_eq!([23, 24, 48, 72, -1].map(|hour| grid.demand(0, first + hour)), [Some(0), None, Some(0), None, None]);
        assert_eq!(grid.demand(2, first), None);
        let all = grid.over(0, first - 5..first + 100);
        assert_eq!((all.hours, all.busy, all.trips), (48, 1, 2));
        assert_eq!((all.mean(), all.busy_mean()), (Some(2.0 / 48.0), Some(2.0)));
        let deviation = all.deviation().expect("48 hours");
        assert!((deviation - 0.288_675_134_594_812_9).abs() < 1e-15, "{deviation}");
        assert_eq!(Sums::default().deviation(), None);
    }
}
