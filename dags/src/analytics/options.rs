//! What a run is asked for: which days, and how new the sources have to be.

use chrono::{NaiveDate, TimeDelta};
use orch::prelude::*;
use orch_lake::Filter;

/// A month: a run of many would keep the next one waiting.
const MOST_DAYS: u32 = 31;
/// Microseconds.
pub const DAY: i64 = 86_400_000_000;

/// What one run computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Analytics {
    /// The last day that is computed, such as `2019-03-31`. Without it the newest that there are trips of; of the change
    /// log its own newest.
    pub reference_date: Option<String>,
    /// So many days up to that one.
    #[schemars(range(min = 1, max = 31))]
    pub days: u32,
    /// The trips and the weather must have been loaded within so many hours.
    #[schemars(range(min = 1, max = 8784))]
    pub sources_within_hours: u32,
    /// The run waits so long for them.
    #[schemars(range(min = 1, max = 1440))]
    pub wait_minutes: u32,
}

impl Default for Analytics {
    fn default() -> Self {
        Analytics { reference_date: None, days: 2, sources_within_hours: 24, wait_minutes: 60 }
    }
}

/// Whole days, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    pub first: NaiveDate,
    pub last: NaiveDate,
}

impl Analytics {
    /// # Errors
    /// A fatal error that names the param.
    pub fn asked_date(&self) -> TaskResult<Option<NaiveDate>> {
        let asked = self.reference_date.as_deref().filter(|date| !date.is_empty());
        let parsed = asked.map(|date| {
            let broken = || fatal(format!("`reference_date` is `{date}`\nhint: write it as `2019-03-31`"));
            date.parse().map_err(|_| broken())
        });
        parsed.transpose()
    }

    /// # Errors
    /// A fatal error that names the param.
    pub fn days_until(&self, last: NaiveDate) -> TaskResult<Days> {
        if !(1..=MOST_DAYS).contains(&self.days) {
            return Err(fatal(format!("`days` is {}\nhint: it is a number from 1 to {MOST_DAYS}", self.days)));
        }
        Ok(Days { first: last - TimeDelta::days(i64::from(self.days) - 1), last })
    }
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
    fn a_run_computes_the_days_up_to_the_date_that_it_was_asked_for() {
        let asked = |params| serde_json::from_value::<Analytics>(params).expect("they fit");
        let of = asked(json!({ "reference_date": "2019-03-01", "days": 3 }));
        let days = of.days_until(of.asked_date().expect("a date").expect("one")).expect("days");
        assert_eq!(
            days.each().map(|day| day.to_string()).collect::<Vec<_>>(),
            ["2019-02-27", "2019-02-28", "2019-03-01"]
        );
        assert_eq!(days.rows("d").to_string(), "(d >= '2019-02-27') and (d < '2019-03-02')");
        assert_eq!(days.rows_by_end("d").to_string(), "(d > '2019-02-27') and (d <= '2019-03-02')");
        let (from, end) = days.micros();
        assert_eq!(
            (day_of(from), day_of(end - 1), day_of(-1).to_string().as_str()),
            (days.first, days.last, "1969-12-31")
        );
        assert_eq!(asked(json!({ "reference_date": "" })).asked_date().expect("none"), None);
        assert!(asked(json!({ "reference_date": "soon" })).asked_date().is_err());
        assert!(asked(json!({ "days": 0 })).days_until(days.last).is_err());
    }
}
