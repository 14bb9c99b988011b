//! Describes a few of the rows that violate a rule.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use orch_sdk::secret::{MASK, is_sensitive};

/// Maximum number of rows that are described per finding.
const MOST_NAMED: u64 = 5;
/// Maximum number of characters of a value in a description.
const MOST_CHARS: usize = 80;

#[derive(Debug, Default)]
pub(super) struct Samples {
    named: Vec<String>,
    all: u64,
}

impl Samples {
    /// Adds a row. `words` builds its description and is called only if the limit is not reached yet.
    pub(super) fn add(&mut self, words: impl FnOnce() -> String) {
        self.all += 1;
        if self.all <= MOST_NAMED {
            self.named.push(words());
        }
    }

    /// Adds a single description for a number of rows.
    pub(super) fn add_many(&mut self, words: String, rows: u64) {
        if !self.named.contains(&words) && (self.named.len() as u64) < MOST_NAMED {
            self.named.push(words);
        }
        self.all += rows;
    }

    pub(super) fn bad(&self) -> u64 {
        self.all
    }

    pub(super) fn text(&self) -> String {
        self.named.join("; ") + if self.all > MOST_NAMED { "; …" } else { "" }
    }
}

/// Returns a name for a row in descriptions: the values of its key columns, or its row number from 1 if there is no
/// key.
pub(super) fn name_of(key: &[String], batch: &RecordBatch, row: usize, before: u64) -> String {
    if key.is_empty() || key.iter().any(|column| batch.column_by_name(column).is_none()) {
        return format!("row {}", before + row as u64 + 1);
    }
    values(batch, key, row)
}

/// Formats column names and values, such as `customer_id 7, day 2026-01-01`.
pub(super) fn values(batch: &RecordBatch, columns: &[String], row: usize) -> String {
    let all: Vec<String> = columns.iter().map(|column| format!("{column} {}", value(batch, column, row))).collect();
    all.join(", ")
}

/// Formats a value. It is masked if the name of its column is sensitive.
pub(super) fn value(batch: &RecordBatch, column: &str, row: usize) -> String {
    let Some(values) = batch.column_by_name(column) else { return "missing".into() };
    if values.is_null(row) {
        return "null".into();
    }
    if is_sensitive(column) {
        return MASK.into();
    }
    let text = array_value_to_string(values, row).unwrap_or_else(|_| "?".into());
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
