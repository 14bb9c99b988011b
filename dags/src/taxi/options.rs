//! The params of `nyc_taxi_iceberg_etl`, and the months that they request.

use crate::common::nyc::month::{Month, due};
use chrono::{DateTime, NaiveDate, Utc};
use orch::prelude::*;

/// Which months a run loads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Those after the last month that is known, as far as they are there.
    #[default]
    Due,
    /// That of the run's logical date, as in backfills.
    Month,
}

/// What one run reads of the city's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Taxi {
    /// Which months are loaded, where they are not named.
    pub mode: Mode,
    /// These months, such as `2025-02`, also if they are known already: what is there of them is replaced.
    pub months: Vec<String>,
    /// In mode `due`, no more months than that in one run.
    #[schemars(range(min = 1, max = 120))]
    pub at_most: u32,
}

impl Default for Taxi {
    fn default() -> Self {
        Taxi { mode: Mode::Due, months: Vec::new(), at_most: 3 }
    }
}

impl Taxi {
    /// Returns the months of a run in order, and whether a month without a file is an error. If it is not, the run
    /// stops at the first month without a file.
    pub(super) fn wanted(
        &self,
        logical: Option<NaiveDate>,
        loaded: Option<Month>,
        now: DateTime<Utc>,
    ) -> TaskResult<(Vec<Month>, bool)> {
        if !self.months.is_empty() {
            let mut months = self.months.iter().map(|month| Month::parse(month)).collect::<TaskResult<Vec<_>>>()?;
            months.sort_unstable();
            months.dedup();
            return Ok((months, true));
        }
        match (self.mode, logical) {
            (Mode::Due, _) => Ok((due(loaded, now, self.at_most as usize), false)),
            (Mode::Month, Some(day)) => Ok((vec![Month::of(day)], true)),
            (Mode::Month, None) => Err(fatal(
                "mode `month` without a month\nhint: name `months` in the run's conf, or give the run a logical date",
            )),
        }
    }
}
