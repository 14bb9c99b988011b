//! A window of order dates: all of them, or some days.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};

/// From one day (included) to another (not included), each of which may be open.
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

    pub fn from_until(from: NaiveDate, until: NaiveDate) -> Days {
        Days { from: Some(from), until: Some(until) }
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

    pub fn hold(self, day: NaiveDate) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day < until)
    }

    /// The days that are in both.
    #[must_use]
    pub fn and(self, other: Days) -> Days {
        let until = [self.until, other.until].into_iter().flatten().min();
        Days { from: self.from.max(other.from), until }
    }

    /// The bounds as moments: from the first, to before the second.
    pub fn bounds(self) -> (Option<NaiveDateTime>, Option<NaiveDateTime>) {
        let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN);
        (self.from.map(midnight), self.until.map(midnight))
    }

    /// As part of a file's name: `2014-01-01`, `2014-01-01-to-2014-01-08`, `since-2014-01-01`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_first_day_and_not_its_end() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        let cases = [
            (Days::all(), "all", "2014-01-01", true),
            (Days::only(day("2014-01-01")), "2014-01-01", "2014-01-01", true),
            (Days::only(day("2014-01-01")), "2014-01-01", "2014-01-02", false),
            (Days::since(day("2014-01-01")), "since-2014-01-01", "2013-12-31", false),
            (Days::from_until(day("2014-01-01"), day("2014-01-08")), "2014-01-01-to-2014-01-08", "2014-01-07", true),
        ];
        for (days, label, of, held) in cases {
            assert_eq!((days.label().as_str(), days.hold(day(of))), (label, held), "{days:?} {of}");
        }
    }
}
