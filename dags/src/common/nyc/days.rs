//! Spans of whole days, and the params that select them.

use super::table::frame_of;
use chrono::{NaiveDate, TimeDelta};
use orch::prelude::*;
use orch_lake::Filter;
use polars::prelude::DataFrame;
use std::ops::{Range, RangeInclusive};

pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;

/// Consecutive whole days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    pub first: NaiveDate,
    pub last: NaiveDate,
}

impl Days {
    pub fn only(day: NaiveDate) -> Days {
        Days { first: day, last: day }
    }

    /// Returns a number of days that ends with `last`.
    pub fn until(last: NaiveDate, days: impl Into<i64>) -> Days {
        Days { first: last - TimeDelta::days(days.into() - 1), last }
    }

    pub fn each(self) -> impl Iterator<Item = NaiveDate> + Send {
        self.first.iter_days().take_while(move |day| *day <= self.last)
    }

    /// Returns these days and a number of days before them.
    #[must_use]
    pub fn and_before(self, days: i64) -> Days {
        Days { first: self.first - TimeDelta::days(days), last: self.last }
    }

    pub fn has(self, day: NaiveDate) -> bool {
        (self.first..=self.last).contains(&day)
    }

    /// Returns the hours of these days, counted since the Unix epoch.
    pub fn hours(self) -> Range<i64> {
        let hour = |day: NaiveDate| (day - NaiveDate::default()).num_days() * 24;
        hour(self.first)..hour(self.last) + 24
    }

    /// Returns the hours of these days as a frame with the single column `hour`.
    pub fn span(self) -> TaskResult<DataFrame> {
        frame_of("hour", self.hours().collect())
    }

    /// Selects the rows of these days by a column of dates or timestamps.
    pub fn rows(self, column: &str) -> Filter {
        let end = self.last + TimeDelta::days(1);
        Filter::ge(column, self.first.to_string()).and(Filter::lt(column, end.to_string()))
    }

    /// Selects the rows of these days by a column with the end of a time span: midnight belongs to the day before.
    pub fn rows_by_end(self, column: &str) -> Filter {
        let end = self.last + TimeDelta::days(1);
        Filter::gt(column, self.first.to_string()).and(Filter::le(column, end.to_string()))
    }
}

/// Returns the day of a timestamp in microseconds since the Unix epoch.
pub fn day_of(micros: i64) -> NaiveDate {
    NaiveDate::default() + TimeDelta::days(micros.div_euclid(DAY))
}

/// Parses the param `reference_date`. An empty string means that it is not set.
///
/// # Errors
/// Returns a fatal error if the text is not a date.
pub fn reference_date(text: Option<&str>) -> TaskResult<Option<NaiveDate>> {
    let date = |text: &str| {
        let invalid =
            |_| fatal(format!("`reference_date` is `{text}`, which is not a date\nhint: write it as `2019-03-31`"));
        text.parse().map_err(invalid)
    };
    text.filter(|text| !text.is_empty()).map(date).transpose()
}

/// Returns a fatal error that names the param if its value is out of range.
pub fn check_param(name: &str, value: u32, range: RangeInclusive<u32>) -> TaskResult<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(fatal(format!("`{name}` is {value}\nhint: it is a number from {} to {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_hold_whole_days() {
        let days = Days { first: "2019-02-27".parse().expect("a day"), last: "2019-03-01".parse().expect("a day") };
        assert_eq!(days, Days::until(days.last, 3));
        assert_eq!(days.rows("d").to_string(), "(d >= '2019-02-27') and (d < '2019-03-02')");
        assert_eq!(days.rows_by_end("d").to_string(), "(d > '2019-02-27') and (d <= '2019-03-02')");
        let hours = days.hours();
        assert_eq!((day_of(hours.start * HOUR), day_of(hours.end * HOUR - 1)), (days.first, days.last));
        assert_eq!(day_of(-1).to_string(), "1969-12-31");
    }

    #[test]
    fn params_are_checked() {
        assert_eq!(reference_date(Some("")).expect("none"), None);
        assert!(reference_date(Some("2019-03-01")).expect("a date").is_some() && reference_date(Some("soon")).is_err());
        assert!(check_param("days", 3, 1..=3).is_ok() && check_param("days", 0, 1..=3).is_err());
    }
}
