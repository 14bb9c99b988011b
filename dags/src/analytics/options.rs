//! The params of a run.

use crate::common::nyc::days::{Days, check_param};
use chrono::NaiveDate;
use orch::prelude::*;

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
    /// Returns a fatal error if `days` is out of range. The limit exists because a longer run would delay the next one.
    pub fn days_until(&self, last: NaiveDate) -> TaskResult<Days> {
        check_param("days", self.days, 1..=31)?;
        Ok(Days::until(last, self.days))
    }
}
