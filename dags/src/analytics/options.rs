//! What a run is asked for: which days, and how new the sources have to be.

use crate::common::nyc::days::Days;
use chrono::{NaiveDate, TimeDelta};
use orch::prelude::*;

/// A month: a run of many would keep the next one waiting.
const MOST_DAYS: u32 = 31;
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
        assert_eq!(asked(json!({ "reference_date": "" })).asked_date().expect("none"), None);
        assert!(asked(json!({ "reference_date": "soon" })).asked_date().is_err());
        assert!(asked(json!({ "days": 0 })).days_until(days.last).is_err());
    }
}
