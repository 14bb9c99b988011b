//! A row of a table of named objects, such as variables or connections.

use super::Table;
use crate::seal::{Keyring, Seat, SecretError};
use crate::{StoreError, StoreResult};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// A row as it is stored. Only values of its sealed columns are encrypted.
#[derive(Debug, Clone)]
pub struct Record {
    table: &'static Table,
    columns: Map<String, Value>,
}

impl Record {
    pub(super) fn of(table: &'static Table, row: Value) -> StoreResult<Record> {
        match row {
            Value::Object(columns) => Ok(Record { table, columns }),
            _ => Err(StoreError::corrupt(format!("a row of {} is not an object", table.name))),
        }
    }

    pub fn name(&self) -> &str {
        self.text(self.table.key).unwrap_or_default()
    }

    pub fn get(&self, column: &str) -> &Value {
        self.columns.get(column).unwrap_or(&Value::Null)
    }

    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column).as_str()
    }

    pub fn whole(&self, column: &str) -> i64 {
        self.get(column).as_i64().unwrap_or_default()
    }

    pub fn flag(&self, column: &str) -> bool {
        self.get(column) == true
    }

    /// True if the column has a value, encrypted or not.
    pub fn holds(&self, column: &str) -> bool {
        !self.get(column).is_null()
    }

    pub fn updated_at(&self) -> DateTime<Utc> {
        self.moment("updated_at").unwrap_or(DateTime::UNIX_EPOCH)
    }

    pub fn moment(&self, column: &str) -> Option<DateTime<Utc>> {
        let moment = DateTime::parse_from_rfc3339(self.text(column)?).ok()?;
        Some(moment.with_timezone(&Utc))
    }

    /// Returns the columns that are not sealed.
    pub fn plain(&self) -> impl Iterator<Item = (&str, &Value)> {
        let columns = self.columns.iter().map(|(column, value)| (column.as_str(), value));
        columns.filter(|(column, _)| !self.table.sealed.contains(column))
    }

    /// Decrypts a sealed column. Returns `None` if the column has no value.
    pub fn open(&self, column: &'static str, keys: &Keyring) -> Result<Option<String>, SecretError> {
        if !self.holds(column) {
            return Ok(None);
        }
        let seat = Seat { table: self.table.name, id: self.name(), column };
        let sealed = self.sealed(column).ok_or_else(|| SecretError::Damaged { seat: seat.to_string() })?;
        keys.open(seat, &sealed).map(Some)
    }

    /// True if every sealed value of the row is encrypted with the first key.
    pub(super) fn is_current(&self, keys: &Keyring) -> bool {
        let mut sealed = self.table.sealed.iter().filter(|column| self.holds(column));
        sealed.all(|column| self.sealed(column).is_some_and(|sealed| keys.is_current(&sealed)))
    }

    /// Decodes an encrypted value. Postgres writes bytes in JSON as `\x` and hex digits, because each session sets
    /// `bytea_output` (`connect`).
    fn sealed(&self, column: &str) -> Option<Vec<u8>> {
        let digits = self.text(column)?.strip_prefix("\\x")?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len()).step_by(2).map(byte).collect()
    }
}
