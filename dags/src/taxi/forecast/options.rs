//! The params of a run.

use crate::common::nyc::days::check_param;
use orch::prelude::*;
use orch_forecast::demand::HELD_OUT_WEEKS;

/// The params of a run of `demand_forecast`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forecast {
    /// The last day that the forecast knows, such as `2020-12-27`. The forecast begins at the following midnight. Default: the
    /// newest day with trips.
    pub reference_date: Option<String>,
    /// The number of weeks up to that day that a model is trained on.
    #[schemars(range(min = 12, max = 156))]
    pub weeks: u32,
    /// The number of these weeks, the last ones, that a model is judged by. The width of its intervals comes from the same
    /// number of weeks before them.
    #[schemars(range(min = 2, max = 26))]
    pub held_out_weeks: u32,
    /// A model is trained again when the newest one is this number of days older than the reference date. 0: in each run.
    #[schemars(range(min = 0, max = 366))]
    pub retrain_after_days: u32,
    /// The number of days up to the reference date whose earlier forecasts are compared with the actual demand.
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

/// The params of a run of `fare_prediction`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fares {
    /// The last day that is read, such as `2020-12-27`. Default: the newest day with trips.
    pub reference_date: Option<String>,
    /// The number of days up to that one that are read from `ml.fare_prediction_features`.
    #[schemars(range(min = 3, max = 31))]
    pub days: u32,
    /// The number of these days, the last ones, that the model is judged by. Their unusual trips are recorded.
    #[schemars(range(min = 1, max = 10))]
    pub held_out_days: u32,
}

impl Default for Fares {
    fn default() -> Self {
        Fares { reference_date: None, days: 28, held_out_days: 7 }
    }
}

impl Fares {
    /// Checks what the schema of the params cannot express: `days` must include the held-out days, the same number of
    /// days for calibration, and at least one day for training.
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
