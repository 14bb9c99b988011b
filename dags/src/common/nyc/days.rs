//! Spans of whole days, and times as microseconds since 1970.

use chrono::{NaiveDate, TimeDelta};
use orch::prelude::*;
use orch_lake::Filter;

/// Microseconds in a day.
pub const DAY: i64 = 86_400_000_000;

/// Whole days, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    pub first: NaiveDate,
    pub last: NaiveDate,
}

impl Days {
    pub fn each(self) -> impl Iterator<Item = NaiveDate> {
        self.first.iter_days().take_while(move |day| *day <= self.last)
    }

    /// As many more days before them.
    #[must_use]
    pub fn and_before(self, days: i64) -> Days {
        Days { first: self.first - TimeDelta::days(days), last: self.last }
    }

    pub fn has(self, day: NaiveDate) -> bool {
        (self.first..=self.last).contains(&day)
    }

    /// From the first midnight to that after the last day, in microseconds since 1970.
    pub fn micros(self) -> (i64, i64) {
        (micros_of(self.first), micros_of(self.last) + DAY)
    }

    /// Rows of these days, by a column of dates or of times.
    pub fn rows(self, column: &str) -> Filter {
        let end = self.last + TimeDelta::days(1);
        Filter::ge(column, self.first.to_string()).and(Filter::lt(column, end.to_string()))
    }

    /// The same by a column that says when a span of time ended: midnight belongs to the day before.
    pub fn rows_by_end(self, column: &str) -> Filter {
        let end = self.last + TimeDelta::days(1);
        Filter::gt(column, self.first.to_string()).and(Filter::le(column, end.to_string()))
    }
}

pub fn micros_of(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros()
}

/// The day that a time on a clock without a zone is of.
pub fn day_of(micros: i64) -> NaiveDate {
    NaiveDate::default() + TimeDelta::days(micros.div_euclid(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_hold_whole_days() {
        let days = Days { first: "2019-02-27".parse().expect("a day"), last: "2019-03-01".parse().expect("a day") };
        assert_eq!(days.rows("d").to_string(), "(d >= '2019-02-27') and (d < '2019-03-02')");
        assert_eq!(days.rows_by_end("d").to_string(), "(d > '2019-02-27') and (d <= '2019-03-02')");
        let (from, end) = days.micros();
        assert_eq!(
            (day_of(from), day_of(end - 1), day_of(-1).to_string().as_str()),
            (days.first, days.last, "1969-12-31")
        );
    }
}
