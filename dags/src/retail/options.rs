//! The params of the retail DAGs.

use super::days::Days;
use chrono::NaiveDate;
use orch::prelude::*;

/// The orders that a run reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All orders.
    #[default]
    Full,
    /// The orders since the last known day, including that day. All orders if no day is known.
    Incremental,
    /// The orders of one day. They replace the known orders of that day.
    Day,
}

/// The place that a run reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The source itself.
    #[default]
    Shop,
    /// The tables `retail_cdc.*`, in which streams mirror the source. The source is not read.
    Changes,
}

/// The params of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retail {
    /// Which orders are read. The other tables are small and always read completely.
    pub mode: Mode,
    /// The day of mode `day`, such as `2014-01-31`. Default: the day of the run's logical date, as in backfills.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date"))]
    pub day: Option<String>,
    /// The place that is read: the source, or the tables that mirror it.
    pub source: From,
}

impl Retail {
    /// Returns the order dates that this run reads. Only mode `incremental` uses `known_until`.
    ///
    /// # Errors
    /// Returns a fatal error if mode `day` has no day, or one that is not a date.
    pub fn days(&self, logical_day: Option<NaiveDate>, known_until: Option<NaiveDate>) -> TaskResult<Days> {
        match self.mode {
            Mode::Full => Ok(Days::all()),
            Mode::Incremental => Ok(known_until.map_or(Days::all(), Days::since)),
            Mode::Day => {
                let said = self.day.as_deref().filter(|day| !day.is_empty());
                let hint = "write it as `2014-01-31`";
                let no_date = |day| fatal(format!("`day` is `{day}`, which is not a date\nhint: {hint}"));
                let day = said.map(|day| day.parse().map_err(|_| no_date(day))).transpose()?.or(logical_day);
                let hint = "set `day` in the run's conf, or give the run a logical date";
                day.map(Days::only).ok_or_else(|| fatal(format!("mode `day` needs a day\nhint: {hint}")))
            }
        }
    }
}
