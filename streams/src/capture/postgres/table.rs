//! Encodes rows of Postgres tables as records. Performs no I/O.

use super::value;
use crate::capture::envelope::{Old, RowChange, Table, write_text};
use orch_lake::source::postgres::replication::{self as server, Cell, Relation};

/// Placeholder for a large unchanged value (TOAST), which the server does not send.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A captured table with its current columns.
#[derive(Debug, Clone)]
pub(super) struct Caught {
    pub(super) relation: Relation,
    pub(super) topic: String,
}

/// Metadata of a change for the object `source`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) database: &'a str,
    pub(super) xid: Option<u32>,
    /// LSN of the previous commit's end. It is the first part of a position, because it never decreases, unlike the
    /// LSNs of changes.
    pub(super) previous: u64,
    pub(super) lsn: u64,
    /// Time of the commit in milliseconds since the Unix epoch.
    pub(super) at_ms: i64,
    /// Value of Debezium's field `snapshot`: `true`, `last` or `false`.
    pub(super) snapshot: &'static str,
}

impl From<server::Old> for Old<Cell> {
    fn from(old: server::Old) -> Old<Cell> {
        match old {
            server::Old::Key(row) => Old::Key(row),
            server::Old::Full(row) => Old::Full(row),
        }
    }
}

pub(super) type Change = RowChange<Cell>;

/// A table, for encoding changes at one position in the log.
#[derive(Debug)]
pub(super) struct At<'a>(pub(super) &'a Caught);

impl<'a> Table for At<'a> {
    type Cell = Cell;
    type Origin = Origin<'a>;

    fn full_name(&self) -> String {
        format!("{}.{}", self.0.relation.schema, self.0.relation.name)
    }

    fn columns(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.relation.columns.iter().map(|column| (column.name.as_str(), column.is_key))
    }

    /// Always returns true, because the server sends only published columns.
    fn is_told(&self, _column: usize) -> bool {
        true
    }

    fn write(&self, out: &mut Vec<u8>, column: usize, cell: &Cell) {
        match cell {
            Cell::Null => out.extend_from_slice(b"null"),
            Cell::Unchanged => write_text(out, UNAVAILABLE),
            Cell::Text(text) => value::write(out, self.0.relation.columns[column].type_oid, text),
        }
    }

    fn write_source(&self, out: &mut Vec<u8>, origin: &Origin<'a>) {
        let Origin { previous, lsn, at_ms, snapshot, .. } = *origin;
        // A transaction that was open during the snapshot follows the snapshot, although its changes have lower LSNs.
        let within = if snapshot == "false" { lsn } else { 0 };
        let mut name = |before: &str, name: &str| {
            out.extend_from_slice(before.as_bytes());
            write_text(out, name);
        };
        name("{\"connector\":\"postgresql\",\"db\":", origin.database);
        name(",\"schema\":", &self.0.relation.schema);
        name(",\"table\":", &self.0.relation.name);
        let xid = origin.xid.map_or_else(|| "null".into(), |xid| xid.to_string());
        let rest = format!(
            ",\"txId\":{xid},\"lsn\":{lsn},\"sequence\":\"[\\\"{previous}\\\",\\\"{within}\\\"]\",\"ts_ms\":{at_ms},\"snapshot\":\"{snapshot}\"}}"
        );
        out.extend_from_slice(rest.as_bytes());
    }

    /// Copies the values that the change did not touch from the old row, if the old row is complete.
    fn fill(&self, row: &mut [Cell], before: &[Cell]) {
        for (cell, old) in row.iter_mut().zip(before) {
            if *cell == Cell::Unchanged {
                *cell = old.clone();
            }
        }
    }

    fn without_large_column(&self) -> String {
        let table = self.full_name();
        format!(
            "leave its large column out of the publication (`alter publication … set table {table} (…)`, Postgres 15)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::envelope::records;
    use orch_lake::source::postgres::replication::{Column, Tuple};
    use orch_store::topic::NewRecord;
    use serde_json::Value;
    use serde_json::json;

    fn caught(columns: &[(&str, u32, bool)]) -> Caught {
        let column = |&(name, type_oid, is_key): &(&str, u32, bool)| Column { name: name.into(), type_oid, is_key };
        let columns = columns.iter().map(column).collect();
        let relation = Relation { id: 7, schema: "taxi".into(), name: "trips".into(), identity: b'd', columns };
        Caught { relation, topic: "lakehouse.trips".into() }
    }

    fn trips() -> Caught {
        caught(&[("id", 23, true), ("note", 25, false)])
    }

    fn row(cells: &[&str]) -> Tuple {
        cells
            .iter()
            .map(|cell| match *cell {
                "-" => Cell::Null,
                "u" => Cell::Unchanged,
                text => Cell::Text(text.to_owned().into()),
            })
            .collect()
    }

    const ORIGIN: Origin<'static> =
        Origin { database: "taxi_db", xid: Some(742), previous: 100, lsn: 200, at_ms: 1_000, snapshot: "false" };

    /// Returns a line with the key, `before`, operation, `after` and headers of each record of a change.
    fn record_lines(table: &Caught, change: Change) -> Vec<String> {
        let records = records(&At(table), change, &ORIGIN, 2_000).unwrap();
        let text = |record: &NewRecord| {
            let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            let key = record.key.as_ref().map_or_else(|| "-".into(), |key| String::from_utf8(key.clone()).unwrap());
            let headers = Value::Object(record.headers.clone());
            format!("{key} {} {} {} {headers}", value["before"], value["op"].as_str().unwrap(), value["after"])
        };
        records.iter().map(text).collect()
    }

    #[test]
    fn an_event_says_what_debezium_says() {
        let records = records(&At(&trips()), RowChange::Insert(row(&["1", "a\"b"])), &ORIGIN, 2_000).unwrap();
        assert_eq!(records[0].key.as_deref(), Some(br#"{"id":1}"#.as_slice()));
        let value: Value = serde_json::from_slice(records[0].value.as_ref().unwrap()).unwrap();
        let source = json!({
            "connector": "postgresql", "db": "taxi_db", "schema": "taxi", "table": "trips", "txId": 742, "lsn": 200,
            "sequence": "[\"100\",\"200\"]", "ts_ms": 1_000, "snapshot": "false",
        });
        let expected = json!({ "before": null, "after": { "id": 1, "note": "a\"b" }, "source": source, "op": "c", "ts_ms": 2_000 });
        assert_eq!(value, expected);
    }

    #[test]
    fn changes_of_rows_become_records() {
        let key = |cells: &[&str]| Old::Key(row(cells));
        let full = |cells: &[&str]| Old::Full(row(cells));
        for (change, expected) in [
            (RowChange::Read(row(&["1", "-"])), vec![r#"{"id":1} null r {"id":1,"note":null} {}"#]),
            (RowChange::Update(None, row(&["1", "b"])), vec![r#"{"id":1} null u {"id":1,"note":"b"} {}"#]),
            (
                RowChange::Update(None, row(&["1", "u"])),
                vec![r#"{"id":1} null u {"id":1,"note":"__debezium_unavailable_value"} {}"#],
            ),
            (
                RowChange::Update(Some(full(&["1", "a"])), row(&["1", "u"])),
                vec![r#"{"id":1} {"id":1,"note":"a"} u {"id":1,"note":"a"} {}"#],
            ),
            (
                RowChange::Update(Some(key(&["1", "-"])), row(&["2", "u"])),
                vec![
                    r#"{"id":1} {"id":1} d null {"__debezium.newkey":"{\"id\":2}"}"#,
                    r#"{"id":2} null c {"id":2,"note":"__debezium_unavailable_value"} {"__debezium.oldkey":"{\"id\":1}"}"#,
                ],
            ),
            (RowChange::Delete(key(&["1", "-"])), vec![r#"{"id":1} {"id":1} d null {}"#]),
            (RowChange::Delete(full(&["1", "a"])), vec![r#"{"id":1} {"id":1,"note":"a"} d null {}"#]),
            (RowChange::Truncate, vec!["- null t null {}"]),
        ] {
            assert_eq!(record_lines(&trips(), change), expected);
        }
    }

    #[test]
    fn a_table_without_a_key_has_records_without_one() {
        let table = caught(&[("a", 23, false)]);
        let change = RowChange::Update(Some(Old::Full(row(&["1"]))), row(&["2"]));
        assert_eq!(record_lines(&table, change.clone()), [r#"- {"a":1} u {"a":2} {}"#]);
        assert_eq!(records(&At(&table), change, &ORIGIN, 2_000).unwrap()[0].partition, Some(0));
    }

    #[test]
    fn a_row_that_is_too_large_loses_how_it_was_and_then_stops_the_stream() {
        let large = |bytes: usize| "x".repeat(bytes);
        let update = |bytes| {
            let (old, new) = (large(bytes), large(bytes));
            records(
                &At(&trips()),
                RowChange::Update(Some(Old::Full(row(&["1", &old]))), row(&["1", &new])),
                &ORIGIN,
                2_000,
            )
        };
        assert!(update(400_000).unwrap()[0].value.as_ref().unwrap().len() > 800_000);
        let value: Value = serde_json::from_slice(update(600_000).unwrap()[0].value.as_ref().unwrap()).unwrap();
        assert_eq!((&value["before"], value["op"].as_str()), (&Value::Null, Some("u")));
        let error = update(1_100_000).unwrap_err().to_string();
        assert!(error.contains("taxi.trips") && error.contains("hint: "), "{error}");
    }
}
