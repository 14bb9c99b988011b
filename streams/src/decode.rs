//! Decodes records to rows. A record that cannot be decoded is quarantined with the reason and does not affect others.

mod strict;

use crate::changes::{self, Changes};
use crate::records::{Record, Records};
use anyhow::Context as _;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use orch_sdk::task::{TaskResult, fatal};
use std::ops::Range;
use std::sync::Arc;
use strict::Strict;
pub(crate) use strict::fraction_digits;

/// Column with the partition of the row's record. Every batch of a stream has this column and [`OFFSET`].
pub const PARTITION: &str = "_partition";
pub const OFFSET: &str = "_offset";
/// Maximum size of a value in bytes.
const MOST_VALUE_BYTES: usize = 1 << 20;
/// Maximum size in bytes of the transformed rows of one read. A read has at most 4 MB of records.
const MAX_ROWS_BYTES: usize = 256 << 20;
/// Maximum length of an error message of a decoder.
const MOST_REASON_CHARS: usize = 300;

/// Options for decoding the values of a topic.
#[derive(Debug, Clone)]
pub(crate) struct Json {
    pub(crate) schema: SchemaRef,
    /// If true, fields that are not in the schema are ignored. If false, records with such fields are quarantined.
    pub(crate) ignores_unknown: bool,
    /// If true, numbers and booleans are accepted for text fields.
    pub(crate) coerces: bool,
    /// `Some` if the values are row changes.
    pub(crate) changes: Option<Changes>,
}

impl Json {
    fn schema_of_rows(&self) -> SchemaRef {
        self.changes.as_ref().map_or_else(|| self.schema.clone(), |changes| Arc::new(changes.schema()))
    }
}

/// A record that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Index of the record.
    pub(crate) nth: usize,
    pub(crate) reason: String,
}

#[derive(Debug)]
pub(crate) struct Decoded {
    /// Rows whose last columns are `PARTITION` and `OFFSET`.
    pub(crate) rows: RecordBatch,
    pub(crate) bad: Vec<Bad>,
}

/// A function that transforms rows before they are checked.
pub(crate) type Transform = dyn Fn(RecordBatch) -> TaskResult<RecordBatch> + Send + Sync;

/// Decodes records and transforms their rows. A record that fails does not affect other records.
///
/// # Errors
/// Returns an error if the transformation returns different schemas for different rows, or a fatal error if its rows
/// exceed the memory limit.
pub(crate) fn decode(records: &Records, json: &Json, transform: Option<&Transform>) -> TaskResult<Decoded> {
    let mut work = Work { records, json, transform, rows: Vec::new(), bytes: 0, bad: Vec::new() };
    // Row changes have separate rules for numbers.
    let strict = json.changes.is_none().then(|| Strict::of(&json.schema));
    let (mut from, mut nth) = (0, 0);
    // Records that are already known to be invalid divide the other records into ranges.
    for record in records.iter() {
        let misfit = || strict.as_ref()?.misfit(record.value?);
        if let Some(reason) = unreadable(&record).or_else(misfit) {
            work.range(from..nth);
            // Debezium sends a tombstone after the change that deletes the row. Ignore it.
            if json.changes.is_none() || record.value.is_some() {
                work.bad.push(Bad { nth, reason });
            }
            from = nth + 1;
        }
        nth += 1;
    }
    work.range(from..nth);
    let Work { rows, bad, bytes, .. } = work;
    if bytes > MAX_ROWS_BYTES {
        return Err(fatal(format!(
            "the columns of {} records with {} bytes take more than {} MB\nhint: shorten the values that the transformation builds, \
             such as those of `lpad` and `repeat`",
            records.len(),
            records.bytes(),
            MAX_ROWS_BYTES >> 20
        )));
    }
    let none = || {
        let none = with_origin(&RecordBatch::new_empty(json.schema_of_rows()), &Records::default(), 0..0)?;
        transform.map_or(Ok(none.clone()), |transform| transform(none))
    };
    let rows = if rows.is_empty() { none()? } else { joined(&rows, none)? };
    Ok(Decoded { rows, bad })
}

/// Joins batches into one. If the transformation derives column types from its rows, each batch is cast to the types of
/// the batch that it returns for an empty input.
fn joined(parts: &[RecordBatch], none: impl Fn() -> TaskResult<RecordBatch>) -> TaskResult<RecordBatch> {
    let first = parts[0].schema();
    if parts.iter().all(|part| part.schema_ref() == &first) {
        return Ok(concat_batches(&first, parts)?);
    }
    let declared = none()?.schema();
    let nullable = declared.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
    let parts = parts.iter().map(|part| cast_to(&schema, part)).collect::<TaskResult<Vec<_>>>()?;
    Ok(concat_batches(&schema, &parts)?)
}

fn cast_to(schema: &SchemaRef, rows: &RecordBatch) -> TaskResult<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let column = rows.column_by_name(field.name()).with_context(|| {
            format!("the transformation gives some records the column `{}` and others not", field.name())
        })?;
        Ok(cast(column, field.data_type())?)
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<TaskResult<Vec<_>>>()?)?)
}

fn unreadable(record: &Record<'_>) -> Option<String> {
    match record.value {
        None => Some("it has no value (a tombstone)".into()),
        Some(value) if value.len() > MOST_VALUE_BYTES => {
            Some(format!("its value has {} bytes; {MOST_VALUE_BYTES} are read at most", value.len()))
        }
        Some(_) => None,
    }
}

struct Work<'a> {
    records: &'a Records,
    json: &'a Json,
    transform: Option<&'a Transform>,
    rows: Vec<RecordBatch>,
    /// Total size of the transformed rows in bytes.
    bytes: usize,
    bad: Vec<Bad>,
}

impl Work<'_> {
    /// Decodes the whole range in one call, which nearly always succeeds. After a failure, bisects the range to find
    /// the records that fail.
    fn range(&mut self, range: Range<usize>) {
        if range.is_empty() || self.bytes > MAX_ROWS_BYTES {
            return;
        }
        match self.attempt(range.clone()) {
            Ok(rows) => {
                let bytes = self.transform.map_or(0, |_| rows.get_array_memory_size());
                self.bytes = self.bytes.saturating_add(bytes);
                self.rows.push(rows);
            }
            Err(reason) if range.len() == 1 => self.bad.push(Bad { nth: range.start, reason }),
            Err(_) => {
                let middle = range.start + range.len() / 2;
                self.range(range.start..middle);
                self.range(middle..range.end);
            }
        }
    }

    fn attempt(&self, range: Range<usize>) -> Result<RecordBatch, String> {
        let rows = match &self.json.changes {
            Some(changes) => changes::parse(self.records, range.clone(), changes),
            None => parse(self.records, range.clone(), self.json),
        };
        let rows = rows.map_err(|error| short(&arrow_error_message(error)))?;
        if let Some(reason) = self.json.changes.is_none().then(|| strict::not_finite(&rows)).flatten() {
            return Err(reason);
        }
        let rows = with_origin(&rows, self.records, range).map_err(|error| short(&arrow_error_message(error)))?;
        match self.transform {
            Some(transform) => transform(rows).map_err(|error| short(&format!("{error:#}"))),
            None => Ok(rows),
        }
    }
}

fn parse(records: &Records, range: Range<usize>, json: &Json) -> Result<RecordBatch, ArrowError> {
    let mut decoder = ReaderBuilder::new(json.schema.clone())
        .with_batch_size(range.len() + 1)
        .with_strict_mode(!json.ignores_unknown)
        .with_coerce_primitive(json.coerces)
        .build_decoder()?;
    let many = range.len();
    for nth in range {
        let value = records.get(nth).and_then(|record| record.value).unwrap_or_default();
        let before = decoder.len();
        decoder.decode(value)?;
        // Each record must be exactly one object. It must not be continued by the next record or contain two objects.
        if decoder.has_partial_record() || decoder.len() != before + 1 {
            return Err(ArrowError::JsonError("it is not one JSON object".into()));
        }
    }
    let rows = decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(json.schema.clone()));
    if rows.num_rows() == many { Ok(rows) } else { Err(ArrowError::JsonError("it is not one JSON object".into())) }
}

fn with_origin(rows: &RecordBatch, records: &Records, range: Range<usize>) -> Result<RecordBatch, ArrowError> {
    let origins = || range.clone().filter_map(|nth| records.get(nth));
    let partitions: ArrayRef = Arc::new(Int32Array::from_iter_values(origins().map(|record| record.partition)));
    let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(origins().map(|record| record.offset)));
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(PARTITION, DataType::Int32, false)));
    fields.push(Arc::new(Field::new(OFFSET, DataType::Int64, false)));
    let mut columns = rows.columns().to_vec();
    columns.extend([partitions, offsets]);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn arrow_error_message(error: ArrowError) -> String {
    match error {
        ArrowError::JsonError(text) | ArrowError::ParseError(text) | ArrowError::InvalidArgumentError(text) => text,
        other => other.to_string(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(MOST_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray as _;
    use arrow::datatypes::{Float64Type, Int64Type};
    use std::collections::BTreeMap;

    fn json() -> Json {
        let fields = [Field::new("city", DataType::Utf8, false), Field::new("temperature", DataType::Float64, true)];
        Json { schema: Arc::new(Schema::new(fields.to_vec())), ignores_unknown: false, coerces: false, changes: None }
    }

    fn records(values: &[Option<&[u8]>]) -> Records {
        let mut records = Records::default();
        for (value, offset) in values.iter().zip(10..) {
            records.push(&Record {
                partition: 3,
                offset,
                at_ms: None,
                key: None,
                value: *value,
                old_key: None,
                has_new_key: false,
            });
        }
        records
    }

    #[test]
    fn good_records_are_rows_with_where_they_came_from() {
        let records = records(&[Some(br#"{"city":"Oslo","temperature":-3.5}"#), Some(br#" {"city": "Rome"} "#)]);
        let Decoded { rows, bad } = decode(&records, &json(), None).unwrap();
        assert_eq!(bad, []);
        assert_eq!(rows.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["Oslo", "Rome"]);
        assert_eq!(rows.column(1).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(-3.5), None]);
        assert_eq!(rows.column(3).as_primitive::<Int64Type>().values(), &[10, 11]);
    }

    #[test]
    fn what_is_no_row_is_put_aside_and_the_rest_passes() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let deep = format!(r#"{{"city":"deep","x":{deep}}}"#);
        let long = format!(r#"{{"city":"{}"}}"#, "x".repeat(MOST_VALUE_BYTES));
        let bad: [Option<&[u8]>; 11] = [
            None,
            Some(b""),
            Some(b"\0"),
            Some(b"[1]"),
            Some(br#"{"city":"half""#),
            Some(br#"{"city":"two"}{"city":"of them"}"#),
            Some(br#"{"city":"wrong","temperature":"warm"}"#),
            Some(br#"{"city":"extra","more":1}"#),
            Some(br#"{"temperature":1}"#),
            Some(deep.as_bytes()),
            Some(long.as_bytes()),
        ];
        let good: Option<&[u8]> = Some(br#"{"city":"Bonn"}"#);
        let all: Vec<_> = bad.iter().flat_map(|one| [good, *one]).chain([good]).collect();
        let Decoded { rows, bad: found } = decode(&records(&all), &json(), None).unwrap();
        assert_eq!(rows.num_rows(), bad.len() + 1);
        let mut nths: Vec<_> = found.iter().map(|bad| bad.nth).collect();
        nths.sort_unstable();
        assert_eq!(nths, (0..bad.len()).map(|nth| 2 * nth + 1).collect::<Vec<_>>());
        assert!(
            found.iter().all(|bad| !bad.reason.is_empty() && bad.reason.len() <= 4 * MOST_REASON_CHARS),
            "{found:?}"
        );
    }

    #[test]
    fn unknown_fields_and_numbers_as_texts_may_be_allowed() {
        let records = records(&[Some(br#"{"city":7,"more":{"deep":[1]}}"#)]);
        assert_eq!(decode(&records, &json(), None).unwrap().bad.len(), 1);
        let json = Json { ignores_unknown: true, coerces: true, ..json() };
        let Decoded { rows, bad } = decode(&records, &json, None).unwrap();
        assert_eq!(bad, []);
        assert_eq!(rows.column(0).as_string::<i32>().value(0), "7");
    }

    #[test]
    fn a_number_that_does_not_fit_is_put_aside_with_its_value() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("age", DataType::Int64, true),
            Field::new("temp", DataType::Float64, true),
        ]));
        let json = Json { schema, ..json() };
        let records = records(&[
            Some(br#"{"age":3,"temp":1.5}"#),
            Some(br#"{"age":3.7}"#),
            Some(br#"{"temp":1e999}"#),
            Some(br#"{"temp":"NaN"}"#),
            Some(br#"{"age":4.0}"#),
        ]);
        let Decoded { rows, bad } = decode(&records, &json, None).unwrap();
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(3), Some(4)]);
        let reasons: BTreeMap<_, _> = bad.iter().map(|bad| (bad.nth, bad.reason.as_str())).collect();
        let not_finite = "`temp` is not a finite number";
        let expected = [(1, "`age` is 3.7, which is not a whole number"), (2, not_finite), (3, not_finite)];
        assert_eq!(reasons, BTreeMap::from(expected));
    }

    /// A transformation that runs SQL over rows in memory declares a column nullable only if it contains a null.
    /// Asserts that this is accepted.
    #[test]
    fn a_transformation_may_derive_from_its_rows_what_is_nullable() {
        let derive = |rows: RecordBatch| {
            let fields = rows
                .schema_ref()
                .fields()
                .iter()
                .zip(rows.columns())
                .map(|(field, column)| field.as_ref().clone().with_nullable(column.null_count() > 0));
            Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), rows.columns().to_vec())?)
        };
        let records = records(&[
            Some(br#"{"city":"a","temperature":1}"#),
            Some(br"broken"),
            Some(br#"{"city":"b","temperature":null}"#),
        ]);
        let Decoded { rows, bad } = decode(&records, &json(), Some(&derive)).unwrap();
        assert_eq!(rows.column(1).as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(1.0), None]);
        assert_eq!(bad.iter().map(|bad| bad.nth).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_transformation_that_builds_too_much_stops_the_stream() {
        let widen = |rows: RecordBatch| {
            anyhow::ensure!(rows.num_rows() == 1, "a row at a time");
            let text: ArrayRef = Arc::new(arrow::array::StringArray::from(vec!["x".repeat(MAX_ROWS_BYTES / 4)]));
            Ok(RecordBatch::try_from_iter([("text", text)])?)
        };
        let value: &[u8] = br#"{"city":"a"}"#;
        let records = records(&[Some(value); 64]);
        let error = decode(&records, &json(), Some(&widen)).expect_err("64 GB").to_string();
        assert!(error.contains("the columns of 64 records") && error.contains("more than 256 MB"), "{error}");
    }

    #[test]
    fn a_row_that_cannot_be_transformed_is_put_aside() {
        let refuse_hot = |rows: RecordBatch| {
            let temperature = rows.column(1).as_primitive::<Float64Type>();
            anyhow::ensure!(temperature.iter().flatten().all(|degrees| degrees < 60.0), "too hot");
            Ok(rows)
        };
        let records = records(&[
            Some(br#"{"city":"a","temperature":1}"#),
            Some(br#"{"city":"b","temperature":99}"#),
            Some(br#"{"city":"c"}"#),
        ]);
        let Decoded { rows, bad } = decode(&records, &json(), Some(&refuse_hot)).unwrap();
        assert_eq!((rows.num_rows(), bad), (2, vec![Bad { nth: 1, reason: "too hot".into() }]));
    }
}
