//! Encodes rows as JSON, CSV, Parquet or Arrow, with the names and types that the endpoint declares.

use crate::endpoint::{Column, ColumnType, Endpoint, Shape};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::json::ReaderBuilder;
use arrow_ipc::writer::StreamWriter;
use chrono::{DateTime, SecondsFormat, Utc};
use orch_store::lake_view::{Cell, csv_line};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Parquet,
    /// A stream of Arrow's IPC format.
    Arrow,
}

impl Format {
    pub(crate) const NAMES: [&'static str; 4] = ["json", "csv", "parquet", "arrow"];

    pub(crate) fn of(name: &str) -> Option<Format> {
        let all = [Format::Json, Format::Csv, Format::Parquet, Format::Arrow];
        all.into_iter().find(|format| format.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Result of the query of an endpoint.
pub(crate) struct EndpointRows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
    /// True if there are more rows than the limit.
    pub(crate) more: bool,
}

/// Returns the body of a response. `at` is the time at which it was computed.
///
/// # Errors
/// Returns an error if a value does not have the type that its column declares.
pub(crate) fn body(
    endpoint: &Endpoint,
    format: Format,
    rows: Vec<Vec<Cell>>,
    at: DateTime<Utc>,
) -> anyhow::Result<Vec<u8>> {
    let columns = &endpoint.columns;
    match format {
        Format::Json => {
            let mut data: Vec<Object<'_>> = rows.into_iter().map(|row| Object::of(columns, row)).collect();
            Ok(match endpoint.shape {
                Shape::Rows => serde_json::to_vec(&Envelope {
                    success: true,
                    message: format!("{} rows", data.len()),
                    data,
                    timestamp: at.to_rfc3339_opts(SecondsFormat::Micros, true),
                })?,
                Shape::Row if data.is_empty() => {
                    serde_json::to_vec(&Object::of(columns, vec![Value::Null; columns.len()]))?
                }
                Shape::Row => serde_json::to_vec(&data.swap_remove(0))?,
            })
        }
        Format::Csv => {
            let head: Vec<Cell> = columns.iter().map(|column| column.name.clone().into()).collect();
            let lines = rows.into_iter().map(|row| csv_line(&Object::of(columns, row).cells));
            Ok(csv_line(&head).into_bytes().into_iter().chain(lines.flat_map(String::into_bytes)).collect())
        }
        Format::Parquet => {
            let batch = batch(columns, rows)?;
            let properties =
                WriterProperties::builder().set_compression(Compression::ZSTD(parquet::basic::ZstdLevel::default()));
            let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build()))?;
            writer.write(&batch)?;
            Ok(writer.into_inner()?)
        }
        Format::Arrow => {
            let batch = batch(columns, rows)?;
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
            writer.write(&batch)?;
            Ok(writer.into_inner()?)
        }
    }
}

#[derive(serde::Serialize)]
struct Envelope<'a> {
    success: bool,
    message: String,
    data: Vec<Object<'a>>,
    timestamp: String,
}

/// A row that is serialized as an object with its columns in order.
struct Object<'a> {
    columns: &'a [Column],
    cells: Vec<Cell>,
}

impl<'a> Object<'a> {
    fn of(columns: &'a [Column], row: Vec<Cell>) -> Object<'a> {
        Object { columns, cells: columns.iter().zip(row).map(|(column, cell)| typed(column, cell)).collect() }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (column, cell) in self.columns.iter().zip(&self.cells) {
            match cell {
                Value::Array(entries) if column.data_type == ColumnType::List => {
                    let entries: Vec<Object<'_>> = entries.iter().map(|entry| inner(&column.of, entry)).collect();
                    map.serialize_entry(&column.name, &entries)?;
                }
                cell => map.serialize_entry(&column.name, cell)?,
            }
        }
        map.end()
    }
}

fn inner<'a>(columns: &'a [Column], entry: &Value) -> Object<'a> {
    Object::of(columns, columns.iter().map(|column| entry.get(&column.name).cloned().unwrap_or_default()).collect())
}

/// Converts a cell to the declared type: SQL timestamps to ISO 8601, decimals to numbers. Values that are not numbers
/// in JSON, such as NaN, become null.
fn typed(column: &Column, cell: Cell) -> Cell {
    match (column.data_type, cell) {
        (ColumnType::Timestamp, Value::String(text)) => Value::String(text.replacen(' ', "T", 1)),
        (ColumnType::Number, Value::String(text)) => text.parse::<f64>().map_or(Value::String(text), Value::from),
        (ColumnType::Integer, Value::String(text)) => text.parse::<i64>().map_or(Value::String(text), Value::from),
        (_, cell) => cell,
    }
}

fn batch(columns: &[Column], rows: Vec<Vec<Cell>>) -> anyhow::Result<RecordBatch> {
    let data_type = |column: &Column| match column.data_type {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        // A list is written as JSON text.
        ColumnType::Text | ColumnType::List => DataType::Utf8,
    };
    let fields: Vec<Field> = columns.iter().map(|column| Field::new(&column.name, data_type(column), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let objects: Vec<Object<'_>> = rows.into_iter().map(|row| flat(Object::of(columns, row))).collect();
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(objects.len().max(1)).build_decoder()?;
    decoder.serialize(&objects)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

fn flat(mut row: Object<'_>) -> Object<'_> {
    for cell in row.cells.iter_mut().filter(|cell| cell.is_array()) {
        *cell = Value::String(cell.to_string());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_ipc::reader::StreamReader;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::json;

    fn endpoint(shape: &str) -> Endpoint {
        let text = format!(
            "
path: /x
about: All types
shape: {shape}
sql: select * from a.t
columns:
  - {{name: n, type: integer}}
  - {{name: x, type: number}}
  - {{name: name, type: text}}
  - {{name: is, type: boolean}}
  - {{name: day, type: date}}
  - {{name: at, type: timestamp}}
  - {{name: top, type: list, of: [{{name: zone, type: text}}, {{name: at, type: timestamp}}]}}
"
        );
        Endpoint::read("x.yaml", &text).unwrap()
    }

    fn rows() -> Vec<Vec<Cell>> {
        let top = json!([{ "zone": "a", "at": "2026-11-20 06:00:00" }]);
        vec![
            vec![
                json!(1),
                json!(0.5),
                json!("a,\"b\""),
                json!(true),
                json!("2026-11-20"),
                json!("2026-11-20 06:00:00.500"),
                top,
            ],
            vec![Value::Null; 7],
        ]
    }

    fn written(shape: &str, format: Format, rows: Vec<Vec<Cell>>) -> Vec<u8> {
        body(&endpoint(shape), format, rows, DateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn rows_are_an_envelope_and_one_row_is_an_object() {
        let one = json!({
            "n": 1, "x": 0.5, "name": "a,\"b\"", "is": true, "day": "2026-11-20", "at": "2026-11-20T06:00:00.500",
            "top": [{ "zone": "a", "at": "2026-11-20T06:00:00" }],
        });
        let none = json!({ "n": null, "x": null, "name": null, "is": null, "day": null, "at": null, "top": null });
        let read = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
        assert_eq!(
            read(written("rows", Format::Json, rows())),
            json!({ "success": true, "message": "2 rows", "data": [one, none], "timestamp": "1970-01-01T00:00:00.000000Z" })
        );
        assert_eq!(read(written("row", Format::Json, rows())), one);
        assert_eq!(read(written("row", Format::Json, vec![])), none);
    }

    #[test]
    fn columns_keep_their_order_and_decimals_are_numbers() {
        let mut rows = rows();
        (rows[0][0], rows[0][1]) = (json!("7"), json!("12.50"));
        let text = String::from_utf8(written("row", Format::Json, rows)).unwrap();
        assert!(text.starts_with(r#"{"n":7,"x":12.5,"name":"a,\"b\"","is":true,"day":"2026-11-20""#), "{text}");
        assert!(text.ends_with(r#""top":[{"zone":"a","at":"2026-11-20T06:00:00"}]}"#), "{text}");
    }

    #[test]
    fn csv_keeps_the_names_when_there_is_no_row() {
        assert_eq!(written("rows", Format::Csv, vec![]), b"n,x,name,is,day,at,top\r\n");
        let text = String::from_utf8(written("rows", Format::Csv, rows())).unwrap();
        assert!(text.contains("1,0.5,\"a,\"\"b\"\"\",true,2026-11-20,2026-11-20T06:00:00.500,\"[{"), "{text}");
    }

    #[test]
    fn parquet_and_arrow_have_the_declared_types() {
        for rows in [rows(), vec![]] {
            let many = rows.len();
            let arrow = written("rows", Format::Arrow, rows.clone());
            let batches: Vec<RecordBatch> =
                StreamReader::try_new(&arrow[..], None).unwrap().map(Result::unwrap).collect();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), many);
            let schema = batches[0].schema();
            let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
            assert_eq!(types, ["Int64", "Float64", "Utf8", "Boolean", "Date32", "Timestamp(µs)", "Utf8"]);
            let parquet = bytes::Bytes::from(written("rows", Format::Parquet, rows));
            let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
            let again: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
            assert_eq!(again.iter().map(RecordBatch::num_rows).sum::<usize>(), many);
            if many > 0 {
                assert_eq!(again[0].columns(), batches[0].columns());
            }
        }
    }

    #[test]
    fn a_value_of_another_type_than_declared_is_an_error() {
        let mut rows = rows();
        rows[0][0] = json!("many");
        assert!(body(&endpoint("rows"), Format::Parquet, rows, DateTime::UNIX_EPOCH).is_err());
    }
}
