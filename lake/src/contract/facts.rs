//! Facts that a contract needs in addition to the data: the current time, and the state of earlier snapshots.

use super::keys::KeySet;
use arrow::array::{RecordBatch, cast::AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// Inputs of contract checks that are not in the data. The caller supplies them, because a contract reads neither the
/// clock nor tables.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(super) now: DateTime<Utc>,
    pub(super) rows_before: Option<u64>,
    pub(super) keys: HashMap<String, KeySet>,
    pub(super) history: HashMap<String, Stats>,
    pub(super) newest: HashMap<String, DateTime<Utc>>,
}

impl Facts {
    pub fn at(now: DateTime<Utc>) -> Facts {
        Facts { now, rows_before: None, keys: HashMap::new(), history: HashMap::new(), newest: HashMap::new() }
    }

    /// Sets the number of rows of the last snapshot.
    #[must_use]
    pub fn rows_before(mut self, rows: u64) -> Self {
        self.rows_before = Some(rows);
        self
    }

    /// Sets the existing keys of another table, to which `references` checks refer.
    #[must_use]
    pub fn keys(mut self, table: impl Into<String>, keys: KeySet) -> Self {
        self.keys.insert(table.into(), keys);
        self
    }

    /// Sets the distribution of the earlier values of a column, with which `no_outliers` compares new values.
    #[must_use]
    pub fn history(mut self, column: impl Into<String>, stats: Stats) -> Self {
        self.history.insert(column.into(), stats);
        self
    }

    /// Sets the newest earlier value of a time series. With it, `continuous` also finds a gap between earlier and new
    /// data.
    #[must_use]
    pub fn newest(mut self, column: impl Into<String>, at: DateTime<Utc>) -> Self {
        self.newest.insert(column.into(), at);
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    pub count: usize,
    pub mean: f64,
    pub deviation: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
}

impl Stats {
    /// Computes the distribution of values. Returns `None` if there is no finite number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Stats> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        if values.is_empty() {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
        // Interpolates linearly between neighboring values, which is the usual default.
        let quantile = |part: f64| {
            let place = part * (count - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        let (lower_quartile, upper_quartile) = (quantile(0.25), quantile(0.75));
        Some(Stats { count, mean, deviation: variance.sqrt(), lower_quartile, upper_quartile })
    }

    /// Computes the distribution of a numeric column. Returns `None` if it contains no finite number.
    pub fn of_column(batches: &[RecordBatch], column: &str) -> Result<Option<Stats>, ArrowError> {
        let mut values = Vec::new();
        for batch in batches {
            let missing = || ArrowError::SchemaError(format!("there is no column `{column}`"));
            let numbers = cast(batch.column_by_name(column).ok_or_else(missing)?, &DataType::Float64)?;
            values.extend(numbers.as_primitive::<Float64Type>().iter().flatten());
        }
        Ok(Stats::of(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_and_deviations_are_those_of_numpy() {
        let stats = Stats::of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 100.0, f64::NAN]).expect("there are numbers");
        assert_eq!((stats.count, stats.lower_quartile, stats.upper_quartile), (9, 3.0, 7.0));
        assert!((stats.mean - 15.111_111).abs() < 1e-6 && (stats.deviation - 30.090_399).abs() < 1e-6, "{stats:?}");
        assert_eq!(Stats::of([f64::NAN]), None);
    }
}
