//! Encodes rows of MySQL tables as records. Performs no I/O.

use crate::capture::envelope::{RowChange, Table, write_text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use orch_lake::source::mysql::binlog::{Cell, Column, Name, TableMap, columns_of};
use orch_sdk::task::TaskResult;
use orch_store::stream::BinlogColumn;
use std::collections::BTreeSet;

pub(super) type Change = RowChange<Cell>;

/// A captured table.
#[derive(Debug, Clone)]
pub(super) struct Caught {
    pub(super) name: Name,
    pub(super) topic: String,
    /// Columns in the catalog as of the position in the binlog.
    pub(super) known: Vec<BinlogColumn>,
    pub(super) columns: Vec<Column>,
    /// Columns before the last schema change. If the binlog names columns, its rows may still have these.
    pub(super) former: Vec<Column>,
    /// Names of the columns that are excluded from all records.
    pub(super) left_out: BTreeSet<String>,
}

impl Caught {
    /// Sets the columns. Returns an error for the first column whose type cannot be read from the binlog.
    pub(super) fn set_columns(&mut self, known: Vec<BinlogColumn>) -> TaskResult<()> {
        let column = |column: &BinlogColumn| {
            let found = Column::of(&column.name, column.is_key, &column.kind, column.charset.as_deref());
            match found {
                // Excluded columns may have any type.
                Err(_) if self.left_out.contains(&column.name) => {
                    Column::of(&column.name, column.is_key, "varbinary(1)", None)
                }
                found => found,
            }
        };
        let columns = known.iter().map(column).collect::<TaskResult<_>>()?;
        let before = std::mem::replace(&mut self.columns, columns);
        let (now, mut former) = (&self.columns, std::mem::take(&mut self.former));
        former.retain(|column| !before.iter().any(|other| other.name == column.name));
        former.extend(before);
        former.retain(|column| !now.iter().any(|other| other.name == column.name));
        self.former = former;
        self.known = known;
        Ok(())
    }

    /// Returns the layout of the following row events, or `None` if the event does not match the known columns.
    pub(super) fn rows(&self, map: &TableMap) -> Option<OfRows> {
        let by_name: Vec<Column> = self.columns.iter().chain(&self.former).cloned().collect();
        let columns = columns_of(map, if map.named.is_some() { &by_name } else { &self.columns })?;
        let is_told = columns.iter().map(|column| !self.left_out.contains(&column.name)).collect();
        Some(OfRows { name: self.name.clone(), topic: self.topic.clone(), columns, is_told, map: map.clone() })
    }
}

/// Layout of the rows in a binlog event.
#[derive(Debug, Clone)]
pub(super) struct OfRows {
    pub(super) name: Name,
    pub(super) topic: String,
    pub(super) columns: Vec<Column>,
    pub(super) is_told: Vec<bool>,
    pub(super) map: TableMap,
}

/// Metadata of a change for the object `source`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) is_mariadb: bool,
    pub(super) server_id: u32,
    pub(super) gtid: Option<&'a str>,
    pub(super) file: &'a str,
    pub(super) pos: u64,
    /// Index of the row in its binlog event.
    pub(super) row: usize,
    pub(super) at_ms: i64,
    /// Value of Debezium's field `snapshot`: `true`, `last` or `false`.
    pub(super) snapshot: &'static str,
}

/// A table with its row layout at a position in the binlog.
#[derive(Debug)]
pub(super) struct At<'a> {
    pub(super) name: &'a Name,
    pub(super) columns: &'a [Column],
    pub(super) is_told: &'a [bool],
}

impl<'a> At<'a> {
    pub(super) fn of(rows: &'a OfRows) -> At<'a> {
        At { name: &rows.name, columns: &rows.columns, is_told: &rows.is_told }
    }
}

impl<'a> Table for At<'a> {
    type Cell = Cell;
    type Origin = Origin<'a>;

    fn full_name(&self) -> String {
        self.name.full()
    }

    fn columns(&self) -> impl Iterator<Item = (&str, bool)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.is_key))
    }

    fn is_told(&self, column: usize) -> bool {
        self.is_told.get(column).copied().unwrap_or(true)
    }

    fn write(&self, out: &mut Vec<u8>, _column: usize, cell: &Cell) {
        let text = match cell {
            Cell::Null => "null".into(),
            Cell::Bool(is) => is.to_string(),
            Cell::Int(number) | Cell::Time(number) | Cell::Datetime(number) => number.to_string(),
            Cell::UInt(number) => number.to_string(),
            Cell::Date(days) => days.to_string(),
            // Write the shortest decimal form, such as 299.98, not the exact digits of the binary number.
            Cell::Float(number) => return serde_json::to_writer(out, number).expect("memory takes everything"),
            Cell::Double(number) => return serde_json::to_writer(out, number).expect("memory takes everything"),
            Cell::Text(text) => return write_text(out, text),
            Cell::Bytes(bytes) => return write_text(out, &STANDARD.encode(bytes)),
            Cell::Timestamp(micros) => match DateTime::from_timestamp_micros(*micros) {
                Some(at) => return write_text(out, &instant(at)),
                None => "null".into(),
            },
        };
        out.extend_from_slice(text.as_bytes());
    }

    fn write_source(&self, out: &mut Vec<u8>, origin: &Origin<'a>) {
        let Origin { is_mariadb, server_id, gtid, file, pos, row, at_ms, snapshot } = *origin;
        let connector = if is_mariadb { "mariadb" } else { "mysql" };
        let mut text = |before: &str, text: &str| {
            out.extend_from_slice(before.as_bytes());
            write_text(out, text);
        };
        text("{\"connector\":", connector);
        text(",\"db\":", &self.name.database);
        text(",\"table\":", &self.name.table);
        match gtid {
            Some(gtid) => text(",\"gtid\":", gtid),
            None => out.extend_from_slice(b",\"gtid\":null"),
        }
        let mut text = |before: &str, text: &str| {
            out.extend_from_slice(before.as_bytes());
            write_text(out, text);
        };
        text(",\"file\":", file);
        let rest = format!(
            ",\"pos\":{pos},\"row\":{row},\"server_id\":{server_id},\"ts_ms\":{at_ms},\"snapshot\":\"{snapshot}\"}}"
        );
        out.extend_from_slice(rest.as_bytes());
    }

    /// Does nothing, because the binlog contains complete rows.
    fn fill(&self, _row: &mut [Cell], _before: &[Cell]) {}

    fn without_large_column(&self) -> String {
        format!("leave its large column out with `.leave_out(\"{}\", …)`", self.name.full())
    }
}

/// Formats a timestamp without trailing zeros in the fraction.
fn instant(at: DateTime<chrono::Utc>) -> String {
    let text = at.to_rfc3339_opts(SecondsFormat::Micros, true);
    let plain = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    // If no fraction is left, the removed zeros were part of the seconds.
    let plain = if plain.len() < 19 { &text[..19] } else { plain };
    format!("{plain}Z")
}
