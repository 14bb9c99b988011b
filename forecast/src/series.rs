//! Hourly counts of one zone or borough, and a view that contains only the hours before the forecast origin.

use std::ops::Range;

/// Counts of consecutive hours. An hour is `None` if its data was not loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    first: i64,
    counts: Vec<Option<u32>>,
    /// Prefix sums of the counts, and of the number of known hours. They are integers, so that differences are exact.
    sums: Vec<(u64, u64)>,
}

impl Series {
    pub fn new(first: i64, counts: Vec<Option<u32>>) -> Series {
        let mut sums = vec![(0, 0)];
        let (mut sum, mut known) = (0, 0);
        for count in &counts {
            sum += u64::from(count.unwrap_or_default());
            known += u64::from(count.is_some());
            sums.push((sum, known));
        }
        Series { first, counts, sums }
    }

    pub fn hours(&self) -> Range<i64> {
        self.first..self.first + self.counts.len() as i64
    }

    pub fn at(&self, hour: i64) -> Option<f64> {
        let place = usize::try_from(hour - self.first).ok()?;
        self.counts.get(place).copied().flatten().map(f64::from)
    }

    /// Returns the sum of the counts in a range of hours, and the number of known hours in the range.
    pub fn over(&self, hours: Range<i64>) -> (f64, f64) {
        let place = |hour: i64| (hour - self.first).clamp(0, self.counts.len() as i64) as usize;
        let (from, end) = (self.sums[place(hours.start)], self.sums[place(hours.end.max(hours.start))]);
        ((end.0 - from.0) as f64, (end.1 - from.1) as f64)
    }

    /// Returns a view of the hours before `origin`.
    pub fn before(&self, origin: i64) -> PastSeries<'_> {
        PastSeries { series: self, origin }
    }
}

/// A view of a series that hides the forecast origin and all later hours, so that a forecast cannot read future data.
#[derive(Debug, Clone, Copy)]
pub struct PastSeries<'a> {
    series: &'a Series,
    pub origin: i64,
}

impl PastSeries<'_> {
    pub fn at(&self, hour: i64) -> Option<f64> {
        (hour < self.origin).then(|| self.series.at(hour))?
    }

    pub fn over(&self, hours: Range<i64>) -> (f64, f64) {
        self.series.over(hours.start.min(self.origin)..hours.end.min(self.origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_ends_at_its_origin() {
        let series = Series::new(10, vec![Some(1), None, Some(3), Some(4)]);
        assert_eq!([9, 10, 11, 13, 14].map(|hour| series.at(hour)), [None, Some(1.0), None, Some(4.0), None]);
        assert_eq!((series.over(0..99), series.over(11..13)), ((8.0, 3.0), (3.0, 1.0)));
        let past = series.before(13);
        assert_eq!((past.at(12), past.at(13)), (Some(3.0), None));
        assert_eq!((past.over(10..99), past.over(20..99)), ((4.0, 2.0), (0.0, 0.0)));
    }
}
