//! A window of order dates: all of them, or some days.

use chrono::NaiveDate;
use orch_lake::Filter;
use serde::{Deserialize, Serialize};

/// From one day (inclusive) to another (exclusive); `None` is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<NaiveDate>,
}

impl Days {
    pub fn all() -> Days {
        Days::default()
    }

    pub fn since(from: NaiveDate) -> Days {
        Days { from: Some(from), until: None }
    }

    pub fn only(day: NaiveDate) -> Days {
        Days { from: Some(day), until: day.succ_opt() }
    }

    pub fn is_all(self) -> bool {
        self == Days::all()
    }

    pub fn contain(self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day < until)
    }

    /// The days that are in both windows.
    #[must_use]
    pub fn intersect(self, other: Days) -> Days {
        let until = [self.until, other.until].into_iter().flatten().min();
        Days { from: self.from.max(other.from), until }
    }

    /// The rows of these days, by a column of dates or times.
    pub fn rows(self, column: &str) -> Filter {
        let from = self.from.map_or(Filter::All, |day| Filter::ge(column, day.to_string()));
        from.and(self.until.map_or(Filter::All, |day| Filter::lt(column, day.to_string())))
    }

    /// The same as a SQL condition, for MySQL and for polars.
    pub fn condition(self, column: &str) -> String {
        let bound = |day: Option<NaiveDate>, than: &str| Some(format!("{column} {than} DATE '{}'", day?));
        let bounds: Vec<String> = [bound(self.from, ">="), bound(self.until, "<")].into_iter().flatten().collect();
        if bounds.is_empty() { "TRUE".into() } else { bounds.join(" AND ") }
    }

    /// For names of files: `2014-01-01`, `2014-01-01-to-2014-01-08`, `since-2014-01-01`.
    pub fn label(self) -> String {
        match (self.from, self.until) {
            (Some(from), Some(until)) if Some(until) == from.succ_opt() => from.to_string(),
            (Some(from), Some(until)) => format!("{from}-to-{until}"),
            (Some(from), None) => format!("since-{from}"),
            (None, Some(until)) => format!("until-{until}"),
            (None, None) => "all".into(),
        }
    }
}
