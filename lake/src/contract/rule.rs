//! The rules of contract checks, and their names.

use super::facts::Stats;
use arrow::datatypes::DataType;
use std::time::Duration;

/// In an `Expression`, a row violates the rule if the SQL expression is false; null passes, as in a CHECK constraint.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    Schema { columns: Vec<(String, DataType)>, exact: bool },
    NotNull { column: String },
    Range { column: String, least: Option<String>, most: Option<String> },
    Unique { columns: Vec<String> },
    References { columns: Vec<String>, table: String },
    Fresh { column: String, within: Duration },
    Continuous { column: String, every: Duration, by: Vec<String> },
    Outliers { column: String, method: Outliers },
    RowsChange { least: f64, most: f64 },
    Expression { name: String, sql: String },
}

/// Method that classifies values as outliers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outliers {
    /// Maximum distance from the mean in standard deviations. In normally distributed data, 4 is rare and 6 is
    /// practically never chance.
    ZScore(f64),
    /// Maximum distance from the quartiles in interquartile ranges. Tukey uses 1.5 for outliers and 3 for "far out"
    /// values. Robust against a few extreme values in the history.
    Iqr(f64),
}

impl Outliers {
    /// Returns the range of values that are not outliers.
    pub(super) fn bounds(self, history: &Stats) -> (f64, f64) {
        match self {
            Outliers::ZScore(most) => {
                (history.mean - most * history.deviation, history.mean + most * history.deviation)
            }
            Outliers::Iqr(most) => {
                let wide = most * (history.upper_quartile - history.lower_quartile);
                (history.lower_quartile - wide, history.upper_quartile + wide)
            }
        }
    }
}

impl Rule {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Rule::Schema { .. } => "schema",
            Rule::NotNull { .. } => "not_null",
            Rule::Range { .. } => "range",
            Rule::Unique { .. } => "unique",
            Rule::References { .. } => "references",
            Rule::Fresh { .. } => "freshness",
            Rule::Continuous { .. } => "continuity",
            Rule::Outliers { .. } => "outliers",
            Rule::RowsChange { .. } => "rows_change",
            Rule::Expression { .. } => "rule",
        }
    }

    /// Returns true if the rule applies to single rows, so that bad rows can be quarantined.
    pub(super) const fn is_about_rows(&self) -> bool {
        matches!(
            self,
            Rule::NotNull { .. }
                | Rule::Range { .. }
                | Rule::Unique { .. }
                | Rule::References { .. }
                | Rule::Outliers { .. }
                | Rule::Expression { .. }
        )
    }

    /// Returns a short sentence about the rule. It must be stable, because it identifies the check in the history of
    /// results.
    pub(super) fn name(&self) -> String {
        match self {
            Rule::Schema { exact: true, .. } => "the columns are those declared".into(),
            Rule::Schema { .. } => "the declared columns are there".into(),
            Rule::NotNull { column } => format!("{column} is not null"),
            Rule::Range { column, least, most } => format!("{column} is {}", range(least.as_deref(), most.as_deref())),
            Rule::Unique { columns } => format!("{} is unique", columns.join(", ")),
            Rule::References { columns, table } => format!("{} is in {table}", columns.join(", ")),
            Rule::Fresh { column, within } => format!("{column} is no older than {}", words(*within)),
            Rule::Continuous { column, every, by } if by.is_empty() => {
                format!("{column} has no hole of more than {}", words(*every))
            }
            Rule::Continuous { column, every, by } => {
                format!("{column} has no hole of more than {} for each {}", words(*every), by.join(", "))
            }
            Rule::Outliers { column, method: Outliers::ZScore(most) } => {
                format!("{column} is within {most} deviations of its history")
            }
            Rule::Outliers { column, method: Outliers::Iqr(most) } => {
                format!("{column} is within {most} quartile distances of its history")
            }
            Rule::Expression { name, sql } => format!("{name}: {sql}"),
            Rule::RowsChange { least, most } => format!("rows change by {} to {}", percent(*least), percent(*most)),
        }
    }
}

/// Formats a range: `between 1 and 9`, `at least 1`, `at most 9`.
pub(super) fn range(least: Option<&str>, most: Option<&str>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("between {least} and {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "anything".into(),
    }
}

pub(super) fn percent(part: f64) -> String {
    format!("{:+.0} %", part * 100.0)
}

/// Formats a duration in the largest unit that is exact: `36 h`, `2 days`, `90 s`.
pub(super) fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "days", "day"), (3_600, "h", "h"), (60, "min", "min"), (1, "s", "s")];
    if time.subsec_nanos() > 0 || seconds == 0 {
        return format!("{time:?}");
    }
    let (size, many, one) = units.into_iter().find(|(size, ..)| seconds.is_multiple_of(*size)).unwrap_or((1, "s", "s"));
    let count = seconds / size;
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_largest_unit_that_says_them_whole() {
        let said = [86_400, 2 * 86_400, 36 * 3_600, 90, 60, 1, 0].map(|seconds| words(Duration::from_secs(seconds)));
        assert_eq!(said, ["1 day", "2 days", "36 h", "90 s", "1 min", "1 s", "0ns"]);
        assert_eq!(words(Duration::from_millis(1_500)), "1.5s");
    }
}
