//! Checks that apply to the whole data set: columns, freshness, gaps and row count. They see only the rows to be
//! published.

use super::facts::Facts;
use super::row::{Unfit, columns};
use super::rule::{Rule, percent, words};
use super::sample::{Samples, values};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum total number of points in all time series, 8 bytes each.
pub(super) const MOST_POINTS: usize = 20_000_000;

/// State that a check of the whole data set keeps between batches.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Newest value so far, in microseconds since the Unix epoch.
    newest: Option<i64>,
    /// Points of each time series in order of arrival.
    points: BTreeMap<String, Vec<i64>>,
    many_points: usize,
    rows: u64,
}

impl Memory {
    pub(super) fn has_too_many_points(&self) -> bool {
        self.many_points > MOST_POINTS
    }

    /// Adds a batch to the state of a check. The inner error is the reason why the batch cannot be checked.
    pub(super) fn add(&mut self, rule: &Rule, batch: &RecordBatch) -> Result<Result<(), Unfit>, ArrowError> {
        self.rows += batch.num_rows() as u64;
        let (column, by) = match rule {
            Rule::Fresh { column, .. } => (column, None),
            Rule::Continuous { column, by, .. } => (column, Some(by)),
            _ => return Ok(Ok(())),
        };
        let found = match columns(batch, [column].into_iter().chain(by.into_iter().flatten())) {
            Ok(found) => found,
            Err(unfit) => return Ok(Err(unfit)),
        };
        if !matches!(found[0].data_type(), DataType::Date32 | DataType::Date64 | DataType::Timestamp(..)) {
            return Ok(Err(format!("{column} is {}, not a time", found[0].data_type())));
        }
        let times = cast(&found[0], &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let Some(by) = by else {
            self.newest = self.newest.max(max(times));
            return Ok(Ok(()));
        };
        for row in (0..times.len()).filter(|&row| times.is_valid(row)) {
            self.points.entry(values(batch, by, row)).or_default().push(times.value(row));
        }
        self.many_points += times.len();
        Ok(Ok(()))
    }

    /// Adds the findings that are known after the last batch.
    pub(super) fn end(self, rule: &Rule, facts: &Facts, samples: &mut Samples) {
        match rule {
            Rule::Fresh { within, .. } => self.freshness(*within, facts, samples),
            Rule::Continuous { column, every, .. } => self.holes(column, *every, facts, samples),
            Rule::RowsChange { least, most } => self.change(*least, *most, facts, samples),
            _ => {}
        }
    }

    fn freshness(&self, within: Duration, facts: &Facts, samples: &mut Samples) {
        let Some(newest) = self.newest else {
            return samples.add(|| "there is no value".into());
        };
        let age = (facts.now.timestamp_micros() - newest).max(0).unsigned_abs();
        if u128::from(age) > within.as_micros() {
            samples
                .add(|| format!("the newest value is {}, {} old", moment(newest), about(Duration::from_micros(age))));
        }
    }

    fn holes(self, column: &str, every: Duration, facts: &Facts, samples: &mut Samples) {
        let step = i64::try_from(every.as_micros()).unwrap_or(i64::MAX).max(1);
        let before = facts.newest.get(column).map(DateTime::timestamp_micros);
        for (series, mut points) in self.points {
            // Adds the newest earlier value to every series, to find a gap before the new points. If all points of a
            // series are older, they were checked when they were published.
            points.extend(before.filter(|&before| points.iter().any(|&point| point > before)));
            points.sort_unstable();
            for pair in points.windows(2).filter(|pair| pair[1].saturating_sub(pair[0]) > step) {
                samples.add(|| {
                    let of = if series.is_empty() { String::new() } else { format!("{series}: ") };
                    format!("{of}nothing between {} and {}", moment(pair[0]), moment(pair[1]))
                });
            }
        }
    }

    fn change(&self, least: f64, most: f64, facts: &Facts, samples: &mut Samples) {
        let Some(before) = facts.rows_before.filter(|&rows| rows > 0) else { return };
        let change = self.rows as f64 / before as f64 - 1.0;
        if !(least..=most).contains(&change) {
            samples.add(|| format!("{} rows after {before}: {}", self.rows, percent(change)));
        }
    }
}

/// Compares the columns of a batch with the declared columns. Returns a description of the differences, or `None`.
pub(super) fn unfit_columns(declared: &[(String, DataType)], exact: bool, batch: &RecordBatch) -> Option<String> {
    let schema = batch.schema();
    let mut problems = Vec::new();
    for (name, of) in declared {
        match schema.field_with_name(name) {
            Err(_) => problems.push(format!("{name} is missing")),
            Ok(field) if field.data_type() != of => problems.push(format!("{name} is {}, not {of}", field.data_type())),
            Ok(_) => {}
        }
    }
    if exact {
        let known = |name: &str| declared.iter().any(|(declared, _)| declared == name);
        let new = schema.fields().iter().filter(|field| !known(field.name()));
        problems.extend(new.map(|field| format!("{} is not declared", field.name())));
    }
    (!problems.is_empty()).then(|| problems.join(", "))
}

fn moment(micros: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(micros);
    at.map_or_else(|| format!("{micros} µs"), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// Formats an age in minutes if it is below one hour, in hours if it is below two days, and otherwise in days.
fn about(age: Duration) -> String {
    let seconds = age.as_secs();
    let round = if seconds >= 2 * 86_400 {
        86_400
    } else if seconds >= 3_600 {
        3_600
    } else {
        60
    };
    words(Duration::from_secs((seconds / round * round).max(60)))
}
