//! A window of order dates.

use chrono::NaiveDate;
use orch_lake::Filter;
use serde::{Deserialize, Serialize};

/// Half-open range of days: `from` is inclusive, `until` is exclusive, and `None` is unbounded.
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

    #[must_use]
    pub fn intersect(self, other: Days) -> Days {
        let until = [self.until, other.until].into_iter().flatten().min();
        Days { from: self.from.max(other.from), until }
    }

    /// Selects the rows of these days by a column of dates or timestamps.
    pub fn rows(self, column: &str) -> Filter {
        let from = self.from.map_or(Filter::All, |day| Filter::ge(column, day.to_string()));
        from.and(self.until.map_or(Filter::All, |day| Filter::lt(column, day.to_string())))
    }

    /// Returns a SQL condition for MySQL and polars that selects these days; `TRUE` if the window is unbounded.
    pub fn condition(self, column: &str) -> String {
        let bound = |day: Option<NaiveDate>, than: &str| Some(format!("{column} {than} DATE '{}'", day?));
        let bounds: Vec<String> = [bound(self.from, ">="), bound(self.until, "<")].into_iter().flatten().collect();
        if bounds.is_empty() { "TRUE".into() } else { bounds.join(" AND ") }
    }

    /// Returns a label for file names: `2014-01-01`, `2014-01-01-to-2014-01-08`, `since-2014-01-01`.
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
