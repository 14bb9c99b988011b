//! Months: the period of a file, and the months that are due to be loaded.

use super::sources::TRIPS;
use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use orch::{TaskResult, fatal};
use orch_lake::Lake;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Number of months after which a missing file is an error: the city publishes after two or three months.
const PUBLISHED_AFTER: u32 = 4;
/// Number of months until the sample file of a month is published, like the city's files.
const SAMPLE_PUBLISHED_AFTER: u32 = 2;
/// Number of months that the first run loads.
const FIRST: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Month(NaiveDate);

impl Month {
    pub fn of(date: NaiveDate) -> Month {
        Month(date.with_day(1).unwrap_or(date))
    }

    /// # Errors
    /// Returns a fatal error if the text is not a year and a month.
    pub fn parse(text: &str) -> TaskResult<Month> {
        let date = format!("{text}-01").parse().ok().filter(|_| text.len() == 7);
        date.map(Month).ok_or_else(|| fatal(format!("`{text}` is not a month\nhint: write `2025-02`")))
    }

    /// Returns the newest month with sample trips.
    pub fn newest_sample(now: DateTime<Utc>) -> Month {
        Month::of(now.date_naive()).before(SAMPLE_PUBLISHED_AFTER)
    }

    pub fn first(self) -> NaiveDate {
        self.0
    }

    #[must_use]
    pub fn next(self) -> Month {
        Month(self.0 + Months::new(1))
    }

    #[must_use]
    pub fn before(self, months: u32) -> Month {
        Month(self.0 - Months::new(months))
    }

    /// Half-open range of the month in microseconds since the Unix epoch.
    pub fn micros(self) -> (i64, i64) {
        let of = |month: Month| month.0.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros();
        (of(self), of(self.next()))
    }

    /// Returns true if the month is so old that its file must exist.
    pub fn is_published(self, now: DateTime<Utc>) -> bool {
        self <= Month::of(now.date_naive()).before(PUBLISHED_AFTER)
    }
}

/// Returns the last month whose trips were loaded and verified. `None` if no month was loaded, or if the catalog of the
/// lake is not in Postgres.
pub(crate) async fn last_loaded(lake: &Lake) -> TaskResult<Option<Month>> {
    let Some(catalog) = lake.catalog().postgres() else { return Ok(None) };
    let last = "select max(month) from lake.etl_control where table_name = $1 and state = 'done'";
    let last: Option<NaiveDate> = sqlx::query_scalar(last).bind(TRIPS).fetch_one(catalog.pool()).await?;
    Ok(last.map(Month::of))
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.format("%Y-%m"))
    }
}

/// Returns the months after the last loaded one, up to the current month, but at most the first `at_most`.
pub fn due(known: Option<Month>, now: DateTime<Utc>, at_most: usize) -> Vec<Month> {
    let now = Month::of(now.date_naive());
    let first = known.map_or(now.before(FIRST), Month::next);
    std::iter::successors(Some(first), |month| Some(month.next()))
        .take_while(|month| *month <= now)
        .take(at_most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_after_the_last_loaded_one_are_due() {
        let now = "2025-02-10T06:00:00Z".parse().expect("a time");
        for (known, at_most, expected) in [
            (None, 9, "2024-11 2024-12 2025-01 2025-02"),
            (Some("2024-12"), 9, "2025-01 2025-02"),
            (Some("2024-06"), 2, "2024-07 2024-08"),
            (Some("2025-02"), 9, ""),
            (Some("2030-01"), 9, ""),
        ] {
            let known = known.map(|month| Month::parse(month).expect("a month"));
            let months: Vec<String> = due(known, now, at_most).iter().map(ToString::to_string).collect();
            assert_eq!(months.join(" "), expected, "{known:?}");
        }
        let month = |text| Month::parse(text).expect("a month");
        assert!(month("2024-10").is_published(now) && !month("2024-11").is_published(now));
    }

    #[test]
    fn a_month_is_a_year_and_a_month() {
        assert_eq!(Month::parse("2019-01").expect("a month").to_string(), "2019-01");
        for text in ["2019-13", "2019-1", "2019", "2019-01-01", "+2019-01", ""] {
            assert!(Month::parse(text).is_err(), "{text}");
        }
    }
}
