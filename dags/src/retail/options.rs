//! What a run is asked for: the params of every retail DAG.

use super::days::Days;
use chrono::NaiveDate;
use orch::prelude::*;

/// How much of the source a run reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything anew.
    #[default]
    Full,
    /// The orders since the last day that is known, that day included. Everything, when nothing is known.
    Incremental,
    /// The orders of one day, in the place of what is known of that day.
    Day,
}

/// Where the rows of the shop are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// At the source itself.
    #[default]
    Shop,
    /// In the tables `retail_cdc.*`, which streams keep as the source is. The source is not asked.
    Changes,
}

/// What one run reads of the shop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retail {
    /// How much of the orders is read. The other tables are small and always read whole.
    pub mode: Mode,
    /// In mode `day`, which one: `2014-01-31`. The day of the run's logical date without it, as in backfills.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date"))]
    pub day: Option<String>,
    /// Where it is read: at the source, or in the tables that its changes keep.
    pub source: From,
}

impl Retail {
    /// The order dates of this run; `known_until` is asked for only where it counts.
    ///
    /// # Errors
    /// A fatal error when no day is said, or something that is none.
    pub fn days(&self, logical_day: Option<NaiveDate>, known_until: Option<NaiveDate>) -> TaskResult<Days> {
        match self.mode {
            Mode::Full => Ok(Days::all()),
            Mode::Incremental => Ok(known_until.map_or(Days::all(), Days::since)),
            Mode::Day => {
                let said = self.day.as_deref().filter(|day| !day.is_empty());
                let day = said.map(|day| {
                    day.parse().map_err(|_| fatal(format!("`{day}` is no day\nhint: write `day` as `2014-01-31`")))
                });
                let day = day.transpose()?.or(logical_day);
                day.map(Days::only).ok_or_else(|| {
                    fatal("mode `day` without a day\nhint: say `day` in the run's conf, or give the run a logical date")
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_reads_the_days_that_it_was_asked_for() {
        let day = |text: &str| text.parse::<NaiveDate>().ok();
        for (mode, said, logical, known, expected) in [
            (Mode::Full, "", "", "2014-01-10", Some("all")),
            (Mode::Incremental, "", "", "", Some("all")),
            (Mode::Incremental, "", "2014-01-02", "2014-01-10", Some("since-2014-01-10")),
            (Mode::Day, "2014-01-31", "2014-01-02", "", Some("2014-01-31")),
            (Mode::Day, "", "2014-01-02", "", Some("2014-01-02")),
            (Mode::Day, "", "", "2014-01-10", None),
            (Mode::Day, "someday", "2014-01-02", "", None),
        ] {
            let options = Retail { mode, day: Some(said.into()), source: From::Shop };
            let days = options.days(day(logical), day(known)).ok().map(Days::label);
            assert_eq!(days.as_deref(), expected, "{mode:?} {said} {logical} {known}");
        }
    }
}
