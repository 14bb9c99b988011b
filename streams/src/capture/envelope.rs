//! Changes of rows as records: Debezium's envelope as JSON, without its schema. Pure.

use super::value;
use orch_lake::source::postgres::replication::{Cell, Column, Old, Relation, Tuple};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::topic::{MOST_RECORD_BYTES, NewRecord};
use serde_json::{Map, Value};

/// In place of a large value that a change did not touch, where the server does not send it.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
const NEW_KEY: &str = "__debezium.newkey";
const OLD_KEY: &str = "__debezium.oldkey";
/// Records without a key go there: what was done to a table without a key stays in order.
const WITHOUT_KEY: i16 = 0;

/// A table whose changes become records, as it is for now.
#[derive(Debug, Clone)]
pub(super) struct Caught {
    pub(super) relation: Relation,
    pub(super) topic: String,
}

/// Where changes come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) database: &'a str,
    pub(super) xid: Option<u32>,
    /// Behind the last commit before this one. With it positions never go back, though those of changes do.
    pub(super) previous: u64,
    pub(super) lsn: u64,
    /// Of the commit.
    pub(super) at_ms: i64,
    pub(super) now_ms: i64,
    /// `true`, `last` or `false`.
    pub(super) snapshot: &'static str,
}

/// What was done to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowChange {
    Read(Tuple),
    Insert(Tuple),
    Update(Option<Old>, Tuple),
    Delete(Old),
    Truncate,
}

impl Caught {
    /// # Errors
    /// A fatal one: a row is larger than a record may be.
    pub(super) fn records(&self, change: RowChange, origin: &Origin<'_>) -> TaskResult<Vec<NewRecord>> {
        match change {
            RowChange::Read(row) => {
                let key = self.key(&row);
                Ok(vec![self.record(key, self.event(origin, "r", None, Some(&row)))?])
            }
            RowChange::Insert(row) => {
                let key = self.key(&row);
                Ok(vec![self.record(key, self.event(origin, "c", None, Some(&row)))?])
            }
            RowChange::Update(old, mut row) => {
                if let Some(Old::Full(before)) = &old {
                    fill(&mut row, before);
                }
                self.update(old.as_ref(), &row, origin)
            }
            RowChange::Delete(old) => {
                let key = self.key(cells(&old));
                Ok(vec![self.record(key, self.event(origin, "d", Some(&old), None))?])
            }
            RowChange::Truncate => Ok(vec![self.record(None, self.event(origin, "t", None, None))?]),
        }
    }

    /// With another key it is another row: the old one goes, and the new one comes.
    fn update(&self, old: Option<&Old>, row: &Tuple, origin: &Origin<'_>) -> TaskResult<Vec<NewRecord>> {
        let key = self.key(row);
        let old_key = old.and_then(|old| self.key(cells(old)));
        match (old, old_key, &key) {
            (Some(old), Some(old_key), Some(new_key)) if old_key != *new_key => {
                let gone = self.record(Some(old_key.clone()), self.event(origin, "d", Some(old), None))?;
                let come = self.record(key.clone(), self.event(origin, "c", None, Some(row)))?;
                Ok(vec![with_header(gone, NEW_KEY, new_key), with_header(come, OLD_KEY, &old_key)])
            }
            _ => {
                let whole = self.event(origin, "u", old, Some(row));
                let told =
                    if is_too_large(key.as_ref(), &whole) { self.event(origin, "u", None, Some(row)) } else { whole };
                Ok(vec![self.record(key, told)?])
            }
        }
    }

    fn record(&self, key: Option<Vec<u8>>, value: Vec<u8>) -> TaskResult<NewRecord> {
        if is_too_large(key.as_ref(), &value) {
            let key = key.map_or_else(|| "without a key".into(), |key| String::from_utf8_lossy(&key).into_owned());
            let table = format!("{}.{}", self.relation.schema, self.relation.name);
            return Err(fatal(format!(
                "the row {key} of table `{table}` makes a record of {} bytes, and a topic takes {MOST_RECORD_BYTES} at most\n\
                 hint: leave its large column out of the publication (`alter publication … set table {table} (…)`, Postgres 15), and \
                 begin anew with `orch streams reset <stream> --to-earliest`",
                value.len()
            )));
        }
        let partition = key.is_none().then_some(WITHOUT_KEY);
        Ok(NewRecord { key, value: Some(value), headers: Map::new(), partition })
    }

    /// The key of a row, as JSON; `None` where the table has none.
    fn key(&self, row: &Tuple) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(32);
        for (column, cell) in self.relation.columns.iter().zip(row).filter(|(column, _)| column.is_key) {
            begin_field(&mut out, column);
            write(&mut out, column, cell);
        }
        (!out.is_empty()).then(|| {
            out.push(b'}');
            out
        })
    }

    fn event(&self, origin: &Origin<'_>, op: &str, before: Option<&Old>, after: Option<&Tuple>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"{\"before\":");
        match before {
            Some(Old::Full(row)) => self.row(&mut out, row, |_| true),
            // Of the other columns nothing is known, and null would say something.
            Some(Old::Key(row)) => self.row(&mut out, row, |column| column.is_key),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"after\":");
        match after {
            Some(row) => self.row(&mut out, row, |_| true),
            None => out.extend_from_slice(b"null"),
        }
        self.source(&mut out, origin);
        out.extend_from_slice(format!(",\"op\":\"{op}\",\"ts_ms\":{}}}", origin.now_ms).as_bytes());
        out
    }

    fn row(&self, out: &mut Vec<u8>, row: &Tuple, is_told: impl Fn(&Column) -> bool) {
        let begins_at = out.len();
        for (column, cell) in self.relation.columns.iter().zip(row).filter(|(column, _)| is_told(column)) {
            out.push(if out.len() == begins_at { b'{' } else { b',' });
            value::write_text(out, column.name.as_bytes());
            out.push(b':');
            write(out, column, cell);
        }
        out.extend_from_slice(if out.len() == begins_at { b"{}" } else { b"}" });
    }

    fn source(&self, out: &mut Vec<u8>, origin: &Origin<'_>) {
        let Origin { previous, lsn, at_ms, snapshot, .. } = *origin;
        // A transaction that was open during the snapshot has changes that lie before it in the log, and come after it.
        let within = if snapshot == "false" { lsn } else { 0 };
        let mut name = |before: &str, name: &str| {
            out.extend_from_slice(before.as_bytes());
            value::write_text(out, name.as_bytes());
        };
        name(",\"source\":{\"connector\":\"postgresql\",\"db\":", origin.database);
        name(",\"schema\":", &self.relation.schema);
        name(",\"table\":", &self.relation.name);
        let xid = origin.xid.map_or_else(|| "null".into(), |xid| xid.to_string());
        let rest = format!(
            ",\"txId\":{xid},\"lsn\":{lsn},\"sequence\":\"[\\\"{previous}\\\",\\\"{within}\\\"]\",\"ts_ms\":{at_ms},\"snapshot\":\"{snapshot}\"}}"
        );
        out.extend_from_slice(rest.as_bytes());
    }
}

fn begin_field(out: &mut Vec<u8>, column: &Column) {
    out.push(if out.is_empty() { b'{' } else { b',' });
    value::write_text(out, column.name.as_bytes());
    out.push(b':');
}

fn write(out: &mut Vec<u8>, column: &Column, cell: &Cell) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Unchanged => value::write_text(out, UNAVAILABLE.as_bytes()),
        Cell::Text(text) => value::write(out, column.type_oid, text),
    }
}

fn cells(old: &Old) -> &Tuple {
    match old {
        Old::Key(row) | Old::Full(row) => row,
    }
}

/// A whole old row has what the change did not touch.
fn fill(row: &mut Tuple, before: &Tuple) {
    for (cell, old) in row.iter_mut().zip(before) {
        if *cell == Cell::Unchanged {
            *cell = old.clone();
        }
    }
}

fn is_too_large(key: Option<&Vec<u8>>, value: &[u8]) -> bool {
    key.map_or(0, Vec::len) + value.len() > MOST_RECORD_BYTES
}

fn with_header(mut record: NewRecord, name: &str, key: &[u8]) -> NewRecord {
    record.headers.insert(name.into(), Value::String(String::from_utf8_lossy(key).into_owned()));
    record
}

#[cfg(test)]
mod tests {
    use super::*;
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

    const ORIGIN: Origin<'static> = Origin {
        database: "taxi_db",
        xid: Some(742),
        previous: 100,
        lsn: 200,
        at_ms: 1_000,
        now_ms: 2_000,
        snapshot: "false",
    };

    /// Key, before, operation, after and headers of what a change becomes.
    fn told(table: &Caught, change: RowChange) -> Vec<String> {
        let records = table.records(change, &ORIGIN).unwrap();
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
        let records = trips().records(RowChange::Insert(row(&["1", "a\"b"])), &ORIGIN).unwrap();
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
            assert_eq!(told(&trips(), change), expected);
        }
    }

    #[test]
    fn a_table_without_a_key_has_records_without_one() {
        let table = caught(&[("a", 23, false)]);
        let change = RowChange::Update(Some(Old::Full(row(&["1"]))), row(&["2"]));
        assert_eq!(told(&table, change.clone()), [r#"- {"a":1} u {"a":2} {}"#]);
        assert_eq!(table.records(change, &ORIGIN).unwrap()[0].partition, Some(WITHOUT_KEY));
    }

    #[test]
    fn a_row_that_is_too_large_loses_how_it_was_and_then_stops_the_stream() {
        let large = |bytes: usize| "x".repeat(bytes);
        let update = |bytes| {
            let (old, new) = (large(bytes), large(bytes));
            trips().records(RowChange::Update(Some(Old::Full(row(&["1", &old]))), row(&["1", &new])), &ORIGIN)
        };
        assert!(update(400_000).unwrap()[0].value.as_ref().unwrap().len() > 800_000);
        let value: Value = serde_json::from_slice(update(600_000).unwrap()[0].value.as_ref().unwrap()).unwrap();
        assert_eq!((&value["before"], value["op"].as_str()), (&Value::Null, Some("u")));
        let error = update(1_100_000).unwrap_err().to_string();
        assert!(error.contains("taxi.trips") && error.contains("hint: "), "{error}");
    }
}
