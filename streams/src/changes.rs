//! Row changes in Debezium's format: each record contains the row before and after the change. Decoded rows have the
//! metadata of the change in columns whose names start with `__`.

mod mirror;
mod value;

pub(crate) use mirror::{Mirrored, mirror, mirror_alone};

use self::value::{Wire, column, is_unavailable, wires_of};
use crate::records::{Record, Records};
use arrow::array::{
    ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use orch_sdk::task::TaskResult;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Operation: `c` create, `u` update, `d` delete, `r` row of a snapshot, `t` TRUNCATE.
pub const OP: &str = "__op";
/// Time of the change in the source database.
pub const EVENT_TS: &str = "__event_ts";
pub const SOURCE_TS_MS: &str = "__source_ts_ms";
pub const SOURCE_DB: &str = "__source_db";
pub const SOURCE_TABLE: &str = "__source_table";
/// Log sequence number (LSN) of the change. Null unless the source is Postgres.
pub const LSN: &str = "__lsn";
pub const TX_ID: &str = "__tx_id";
/// Position of the change in the source database's log. For Postgres, the LSNs of the last commit and of the change;
/// for MySQL, the binlog file, the position and the row.
pub const POSITION: &str = "__position";
/// Comma-separated names of unchanged columns whose values the source omitted.
const UNAVAILABLE: &str = "__unavailable";
/// Key of the row before a key change, as JSON.
const OLD_KEY: &str = "__old_key";

/// Value of `op` for a logical message in the source's log, which is not a row change.
pub(crate) const MARK: &str = "m";
/// Prefix of the logical message with which a capture requests that mirrors copy the table themselves.
pub(crate) const SNAPSHOT_MARK: &str = "orch.snapshot";

/// Returns true if the column contains metadata of a change, not data of the row.
pub(crate) fn is_of_change(column: &str) -> bool {
    column.starts_with("__")
}

/// Format of the changes in a topic: Debezium's envelope with or without a schema, or records flattened by
/// `ExtractNewRecordState`.
///
/// By default, integer times are microseconds and decimals are text, as with `decimal.handling.mode=string` or
/// `double`. If records contain a schema, the schema takes precedence. Infinite dates and NaN decimals become null.
#[derive(Debug, Clone)]
#[must_use = "a stream reads changes when it is handed to `.changes(…)`"]
pub struct Changes {
    row: SchemaRef,
    ignores_unknown: bool,
    wires: Vec<Wire>,
}

impl Changes {
    /// Declares changes of rows with these columns. Supported types: booleans, numbers, text, decimals, dates, times,
    /// timestamps (microseconds) and binary.
    pub fn of(row: impl Into<SchemaRef>) -> Changes {
        let row = row.into();
        let wires = vec![Wire { decimal_scale: None, unit: TimeUnit::Microsecond }; row.fields().len()];
        Changes { row, ignores_unknown: false, wires }
    }

    /// Reads decimals as the bytes of an unscaled integer, Debezium's default encoding. The scale is taken from the
    /// column.
    pub fn decimals_as_bytes(mut self) -> Changes {
        for (wire, field) in self.wires.iter_mut().zip(self.row.fields()) {
            if let DataType::Decimal128(_, scale) = field.data_type() {
                wire.decimal_scale = Some(*scale);
            }
        }
        self
    }

    /// Reads times as milliseconds, as with `time.precision.mode=connect`.
    pub fn times_in_milliseconds(mut self) -> Changes {
        for wire in &mut self.wires {
            wire.unit = TimeUnit::Millisecond;
        }
        self
    }

    /// Ignores undeclared columns. By default, records with such columns are quarantined.
    pub fn ignore_unknown_columns(self) -> Changes {
        Changes { ignores_unknown: true, ..self }
    }

    pub(crate) fn row(&self) -> SchemaRef {
        self.row.clone()
    }

    /// Returns the columns of the decoded rows, including the metadata columns of the change.
    pub(crate) fn schema(&self) -> Schema {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let long = |name: &str| Field::new(name, DataType::Int64, true);
        let mut fields: Vec<Field> =
            self.row.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        fields.extend([
            Field::new(OP, DataType::Utf8, false),
            Field::new(EVENT_TS, DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
            long(SOURCE_TS_MS),
            text(SOURCE_DB),
            text(SOURCE_TABLE),
            long(LSN),
            long(TX_ID),
            text(POSITION),
            text(UNAVAILABLE),
            text(OLD_KEY),
        ]);
        Schema::new(fields)
    }

    /// Returns an error for the first column whose type is not supported.
    pub(crate) fn wrong(&self) -> Option<String> {
        let fields = self.row.fields().iter();
        let mut unfit = fields.filter(|field| column(field.data_type(), &[]).is_err());
        unfit
            .next()
            .map(|field| format!("reads changes of `{}` as {}, which it cannot", field.name(), field.data_type()))
    }
}

/// Decodes a range of records. Fails if one of the records is not a valid row change.
pub(crate) fn parse(records: &Records, range: Range<usize>, changes: &Changes) -> Result<RecordBatch, ArrowError> {
    let mut reader = Reader { changes, known: None };
    let read = range.filter_map(|nth| records.get(nth)).map(|record| reader.read(&record));
    let read = read.collect::<Result<Vec<_>, String>>().map_err(ArrowError::JsonError)?;
    let (mut told, mut rows) =
        (Vec::with_capacity(read.len()), vec![Vec::with_capacity(read.len()); changes.row.fields().len()]);
    for (one, row) in read {
        told.push(one);
        for (values, value) in rows.iter_mut().zip(row) {
            values.push(value);
        }
    }
    let mut columns = Vec::with_capacity(rows.len() + 10);
    for (field, values) in changes.row.fields().iter().zip(&rows) {
        columns.push(column(field.data_type(), values).map_err(|why| of_column(field.name(), &why))?);
    }
    columns.extend(columns_of(&told));
    RecordBatch::try_new(Arc::new(changes.schema()), columns)
}

/// Returns a mask of the rows whose [`OP`] is one of `ops`.
pub(crate) fn which(rows: &RecordBatch, ops: &[&str]) -> BooleanArray {
    let told = rows.column_by_name(OP).and_then(|column| column.as_string_opt::<i32>());
    (0..rows.num_rows()).map(|row| Some(told.is_some_and(|told| ops.contains(&told.value(row))))).collect()
}

/// Separates rows that exist at the source from rows of deletes and TRUNCATE.
pub(crate) fn split(rows: &RecordBatch) -> TaskResult<(RecordBatch, RecordBatch)> {
    let is_gone = which(rows, &["d", "t"]);
    if is_gone.true_count() == 0 {
        return Ok((rows.clone(), rows.slice(0, 0)));
    }
    Ok((filter_record_batch(rows, &not(&is_gone)?)?, filter_record_batch(rows, &is_gone)?))
}

fn of_column(name: &str, why: &str) -> ArrowError {
    ArrowError::JsonError(format!("column `{name}` {why}"))
}

#[derive(Debug, Default)]
struct ChangeMetadata {
    op: String,
    source_ts_ms: Option<i64>,
    db: Option<String>,
    table: Option<String>,
    lsn: Option<i64>,
    tx_id: Option<i64>,
    position: Option<String>,
    unavailable: Option<String>,
    old_key: Option<String>,
}

fn columns_of(told: &[ChangeMetadata]) -> [ArrayRef; 10] {
    let text = |of: fn(&ChangeMetadata) -> Option<&str>| Arc::new(told.iter().map(of).collect::<StringArray>());
    let long = |of: fn(&ChangeMetadata) -> Option<i64>| Arc::new(told.iter().map(of).collect::<Int64Array>());
    let at = told.iter().map(|one| one.source_ts_ms?.checked_mul(1_000)).collect::<TimestampMicrosecondArray>();
    [
        text(|one| Some(&one.op)),
        Arc::new(at.with_timezone("+00:00")),
        long(|one| one.source_ts_ms),
        text(|one| one.db.as_deref()),
        text(|one| one.table.as_deref()),
        long(|one| one.lsn),
        long(|one| one.tx_id),
        text(|one| one.position.as_deref()),
        text(|one| one.unavailable.as_deref()),
        text(|one| one.old_key.as_deref()),
    ]
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    source: Option<Source>,
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    prefix: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    ts_ms: Option<i64>,
    db: Option<String>,
    table: Option<String>,
    lsn: Option<i64>,
    #[serde(rename = "txId")]
    tx_id: Option<i64>,
    sequence: Option<String>,
    file: Option<String>,
    pos: Option<i64>,
    row: Option<i64>,
}

type Row<'a> = BTreeMap<Cow<'a, str>, Value>;

struct Reader<'a> {
    changes: &'a Changes,
    /// Schema of the last decoded record, and the encodings that the schema declares.
    known: Option<(String, Vec<Wire>)>,
}

impl Reader<'_> {
    fn read(&mut self, record: &Record<'_>) -> Result<(ChangeMetadata, Vec<Value>), String> {
        let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(|error| error.to_string())?;
        let mut envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (mut text, mut schema) = (text, None);
        if let (Some(carried), Some(payload)) = (envelope.schema, envelope.payload) {
            (text, schema) = (payload.get(), Some(carried.get()));
            envelope = serde_json::from_str(text).map_err(|error| error.to_string())?;
        }
        let (mut told, mut row) = match envelope.op {
            Some(_) => of_envelope(envelope)?,
            None => flattened(text)?,
        };
        if told.op == "d" {
            // The source may send only the key of a deleted row, and zeros in other columns that cannot be null.
            // Therefore take the key columns from the record's key.
            row.extend(key_of(record)?);
        }
        told.old_key = record.old_key.map(|key| String::from_utf8_lossy(key).into_owned());
        self.learn(schema)?;
        let row = self.values(row, &mut told)?;
        Ok((told, row))
    }

    fn learn(&mut self, schema: Option<&str>) -> Result<(), String> {
        match schema {
            None => self.known = None,
            Some(schema) if self.known.as_ref().is_some_and(|(known, _)| known == schema) => {}
            Some(schema) => {
                let wires = wires_of(schema, &self.changes.row, &self.changes.wires)?;
                self.known = Some((schema.to_owned(), wires));
            }
        }
        Ok(())
    }

    /// Returns the values in the order of the columns.
    fn values(&self, mut row: Row<'_>, told: &mut ChangeMetadata) -> Result<Vec<Value>, String> {
        let wires = self.known.as_ref().map_or(&self.changes.wires, |(_, wires)| wires);
        let mut unavailable = Vec::new();
        let mut values = Vec::with_capacity(wires.len());
        for (field, wire) in self.changes.row.fields().iter().zip(wires) {
            let mut value = row.remove(field.name().as_str()).unwrap_or_default();
            if is_unavailable(&value) {
                unavailable.push(field.name().as_str());
                value = Value::Null;
            }
            values
                .push(wire.plain(value, field.data_type()).map_err(|why| format!("column `{}` {why}", field.name()))?);
        }
        if let (false, Some(unknown)) = (self.changes.ignores_unknown, row.keys().next()) {
            return Err(format!("column `{unknown}` is not one of the stream's"));
        }
        told.unavailable = (!unavailable.is_empty()).then(|| unavailable.join(","));
        Ok(values)
    }
}

fn of_envelope(envelope: Envelope<'_>) -> Result<(ChangeMetadata, Row<'_>), String> {
    let Some(op) = envelope.op else { return Err("it has no `op`".into()) };
    let row = match op.as_ref() {
        "c" | "u" | "r" => envelope.after,
        "d" => envelope.before,
        "t" => None,
        MARK if envelope.message.is_some_and(|message| message.prefix.as_deref() == Some(SNAPSHOT_MARK)) => None,
        other => return Err(format!("its `op` is `{other}`, which is no change of a row")),
    };
    let row = match row.filter(|row| row.get() != "null") {
        Some(row) => serde_json::from_str(row.get()).map_err(|error| error.to_string())?,
        None if matches!(op.as_ref(), "d" | "t" | MARK) => Row::new(),
        None => return Err("it has no `after`".into()),
    };
    let mut told = ChangeMetadata { op: op.into_owned(), ..ChangeMetadata::default() };
    if let Some(source) = envelope.source {
        let of_binlog = |file: String| format!("{file}:{}:{}", source.pos.unwrap_or(0), source.row.unwrap_or(0));
        told.position = source.sequence.or_else(|| source.file.map(of_binlog));
        (told.source_ts_ms, told.lsn, told.tx_id) = (source.ts_ms, source.lsn, source.tx_id);
        (told.db, told.table) = (source.db, source.table);
    }
    Ok((told, row))
}

/// Parses a flattened record, in which the metadata of the change is next to the columns of the row.
fn flattened(text: &str) -> Result<(ChangeMetadata, Row<'_>), String> {
    let mut row: Row<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let is_deleted = row.get("__deleted").is_some_and(|value| value == "true" || value == true);
    let said = |row: &Row<'_>, name: &str| row.get(name).and_then(|value| value.as_str().map(str::to_owned));
    let op = said(&row, OP);
    if op.is_none() && !row.contains_key("__deleted") {
        return Err("it has neither `op` nor `__op` or `__deleted`, so it tells no change".into());
    }
    let long = |name: &str| row.get(name).and_then(Value::as_i64);
    let told = ChangeMetadata {
        op: if is_deleted { "d".into() } else { op.unwrap_or_else(|| "u".into()) },
        source_ts_ms: long(SOURCE_TS_MS),
        lsn: long(LSN),
        db: said(&row, "__db").or_else(|| said(&row, SOURCE_DB)),
        table: said(&row, "__table").or_else(|| said(&row, SOURCE_TABLE)),
        ..ChangeMetadata::default()
    };
    row.retain(|name, _| !is_of_change(name));
    Ok((told, row))
}

/// Returns the columns of the record's key. Empty if the table has no key.
fn key_of<'a>(record: &Record<'a>) -> Result<Row<'a>, String> {
    record.key.map_or_else(|| Ok(Row::new()), key_from)
}

fn key_from(text: &[u8]) -> Result<Row<'_>, String> {
    let key: Row<'_> = serde_json::from_slice(text).map_err(|error| format!("its key is no JSON object: {error}"))?;
    Ok(match key.get("payload") {
        Some(Value::Object(payload)) if key.contains_key("schema") => {
            payload.iter().map(|(name, value)| (Cow::Owned(name.clone()), value.clone())).collect()
        }
        _ => key,
    })
}
