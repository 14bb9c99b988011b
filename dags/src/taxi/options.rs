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

/// The months of one run, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum RunMonths {
    /// A month without a file is an error.
    Named(Vec<Month>),
    /// The first month without a file ends them.
    Due(Vec<Month>),
}

impl Taxi {
    /// # Errors
    /// A fatal error if a name is not a month, or the mode requires a logical date and the run has none.
    pub fn wanted(
        &self,
        logical: Option<NaiveDate>,
        known: Option<Month>,
        now: DateTime<Utc>,
    ) -> TaskResult<RunMonths> {
        if !self.months.is_empty() {
            let mut months = self.months.iter().map(|month| Month::parse(month)).collect::<TaskResult<Vec<_>>>()?;
            months.sort_unstable();
            months.dedup();
            return Ok(RunMonths::Named(months));
        }
        match (self.mode, logical) {
            (Mode::Due, _) => Ok(RunMonths::Due(due(known, now, self.at_most as usize))),
            (Mode::Month, Some(day)) => Ok(RunMonths::Named(vec![Month::of(day)])),
            (Mode::Month, None) => Err(fatal(
                "mode `month` without a month\nhint: name `months` in the run's conf, or give the run a logical date",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_loads_the_months_that_its_params_request() {
        let now = "2025-02-10T06:00:00Z".parse().expect("a time");
        let known = Month::parse("2024-12").ok();
        let day = "2019-03-31".parse().ok();
        for (params, logical, expected) in [
            (json!({}), day, "Due 2025-01 2025-02"),
            (json!({ "at_most": 1 }), day, "Due 2025-01"),
            (json!({ "mode": "month" }), day, "Named 2019-03"),
            (json!({ "mode": "month" }), None, "no"),
            (json!({ "months": ["2019-02", "2019-01", "2019-02"] }), None, "Named 2019-01 2019-02"),
            (json!({ "months": ["2019-02", "soon"] }), day, "no"),
        ] {
            let options: Taxi = serde_json::from_value(params.clone()).expect("they fit");
            let words = |kind: &str, months: Vec<Month>| {
                months.iter().fold(kind.to_string(), |words, month| format!("{words} {month}"))
            };
            let found = match options.wanted(logical, known, now) {
                Ok(RunMonths::Named(months)) => words("Named", months),
                Ok(RunMonths::Due(months)) => words("Due", months),
                Err(_) => "no".into(),
            };
            assert_eq!(found, expected, "{params}");
        }
    }
}
