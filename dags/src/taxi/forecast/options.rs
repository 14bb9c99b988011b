//! The params of a run.

use crate::common::nyc::days::check_param;
use orch::prelude::*;
use orch_forecast::demand::HELD_OUT_WEEKS;

/// What one run of `demand_forecast` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forecast {
    /// The last day that is known to the forecast, such as `2020-12-27`; it begins at the midnight after it. Without it the
    /// newest day that there are trips of.
    pub reference_date: Option<String>,
    /// So many weeks up to that day are read for a model.
    #[schemars(range(min = 12, max = 156))]
    pub weeks: u32,
    /// By so many of the last of them a model is judged, and as many before say how wide its intervals are.
    #[schemars(range(min = 2, max = 26))]
    pub held_out_weeks: u32,
    /// A model is fitted when the newest one is so many days older than the reference date. 0: in each run.
    #[schemars(range(min = 0, max = 366))]
    pub retrain_after_days: u32,
    /// Of so many days up to the reference date earlier forecasts are held against what came.
    #[schemars(range(min = 1, max = 31))]
    pub judged_days: u32,
}

impl Default for Forecast {
    fn default() -> Self {
        Forecast {
            reference_date: None,
            weeks: 52,
            held_out_weeks: HELD_OUT_WEEKS as u32,
            retrain_after_days: 7,
            judged_days: 7,
        }
    }
}

/// What one run of `fare_prediction` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fares {
    /// The last day that is read, such as `2020-12-27`. Without it the newest day that there are trips of.
    pub reference_date: Option<String>,
    /// So many days up to that one are read from `ml.fare_prediction_features`.
    #[schemars(range(min = 3, max = 31))]
    pub days: u32,
    /// By so many of the last of them the model is judged; their unusual trips are written down.
    #[schemars(range(min = 1, max = 10))]
    pub held_out_days: u32,
}

impl Default for Fares {
    fn default() -> Self {
        Fares { reference_date: None, days: 28, held_out_days: 7 }
    }
}

impl Fares {
    /// Checks what the schema of the params cannot express: `days` must include the held-out days, the same number of days for
    /// calibration, and at least one day for training.
    ///
    /// # Errors
    /// Returns a fatal error that names the param out of range.
    pub fn checked(self) -> TaskResult<Fares> {
        check_param("held_out_days", self.held_out_days, 1..=(self.days - 1) / 2)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_days_are_left_to_learn_from() {
        let checked = |days, held_out_days| Fares { days, held_out_days, ..Fares::default() }.checked();
        assert!(checked(3, 1).is_ok() && checked(4, 2).is_err());
    }
}
