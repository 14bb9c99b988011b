//! Sorts the records of a batch into rows to publish and records to quarantine.

use crate::changes;
use crate::declare::{Sink, Stream};
use crate::decode::{Decoded, OFFSET, PARTITION, decode};
use crate::gone::Tombstone;
use crate::records::{Record, Records};
use crate::runs::{Call, calls};
use crate::windows::EventTime;
use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::json::LineDelimitedWriter;
use chrono::{DateTime, Utc};
use orch_lake::contract::{Facts, Policy, REASON};
use orch_sdk::task::{TaskResult, fatal};
use std::collections::HashMap;

/// Maximum size of a stored quarantined value in bytes. The complete value remains in the topic.
const MOST_KEPT_BYTES: usize = 64 << 10;

/// Reason for quarantining a TRUNCATE if the topic has several partitions.
const TRUNCATED: &str = "it empties the table, and is not known to come before or after the records of other partitions: give the \
                         topic one partition, or empty the table with `orch streams reset --empty-table` and let the source tell all again";

const NUL: &str = "a text of it contains the character NUL, which Postgres cannot keep";

/// A quarantined record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutAside {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) at: Option<DateTime<Utc>>,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    /// Size of the complete value in bytes.
    pub(crate) bytes: i64,
    pub(crate) reason: String,
}

impl PutAside {
    pub(crate) fn of(record: &Record<'_>, reason: String) -> PutAside {
        let bytes = record.value.map_or(0, <[u8]>::len);
        PutAside {
            partition: record.partition,
            offset: record.offset,
            at: record.at(),
            key: record.key.map(kept_text),
            value: record.value.map(kept_text),
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            reason: if reason.contains('\0') { kept_text(reason.as_bytes()) } else { reason },
        }
    }

    /// Quarantines a row whose record is no longer in memory. Stores the row as JSON as its value.
    pub(crate) fn of_row((partition, offset): (i32, i64), row: &RecordBatch, reason: String) -> TaskResult<PutAside> {
        let mut json = LineDelimitedWriter::new(Vec::new());
        json.write(row)?;
        json.finish()?;
        let value = json.into_inner();
        let value = value.trim_ascii_end();
        let record =
            Record { partition, offset, at_ms: None, key: None, value: Some(value), old_key: None, has_new_key: false };
        Ok(PutAside::of(&record, reason))
    }
}

/// Truncates a text to [`MOST_KEPT_BYTES`], and replaces NUL characters and invalid UTF-8, which some databases cannot
/// store.
fn kept_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_KEPT_BYTES)]).replace('\0', "\u{fffd}")
}

pub(crate) struct Sorted {
    /// Rows with the columns of the table in any order, followed by [`PARTITION`] and [`OFFSET`].
    pub(crate) rows: RecordBatch,
    pub(crate) aside: Vec<PutAside>,
    /// Runs to start. Empty unless the stream starts runs.
    pub(crate) calls: Vec<Call>,
    /// Tombstones (records without a value) that delete rows of the table.
    pub(crate) gone: Vec<Tombstone>,
    /// True if a mirror must copy its table from the source.
    pub(crate) is_marked: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct SortContext {
    pub(crate) at: DateTime<Utc>,
    /// Number of partitions of the topic.
    pub(crate) partitions: usize,
}

/// Decodes, transforms and checks records.
///
/// # Errors
/// Returns an error if a check with the policy `Fail` fails, or if the transformation drops the columns [`PARTITION`]
/// and [`OFFSET`].
pub(crate) fn sort(stream: &Stream, records: &Records, time: &mut EventTime, now: SortContext) -> TaskResult<Sorted> {
    if stream.starts_runs() && stream.json.schema.fields().is_empty() {
        let (calls, aside) = calls(records, None);
        let rows = RecordBatch::new_empty(stream.json.schema.clone());
        return Ok(Sorted { rows, aside, calls, gone: Vec::new(), is_marked: false });
    }
    let Decoded { mut rows, bad } = decode(records, &stream.json, stream.transform.as_deref())?;
    let (mut aside, mut gone) = (Vec::new(), Vec::new());
    let is_marked = take_marks(stream, &mut rows)?;
    for bad in bad {
        let Some(record) = records.get(bad.nth) else { continue };
        match Tombstone::of(&record) {
            _ if !stream.deletes || record.value.is_some() => aside.push(PutAside::of(&record, bad.reason)),
            Ok(one) => gone.push(one),
            Err(reason) => aside.push(PutAside::of(&record, reason.into())),
        }
    }
    gone.sort_unstable_by_key(|one| (one.partition, one.offset));
    let mut by_origin = Origins { records, known: None };
    let key = stream.key_of_rows();
    if !key.is_empty() {
        let (with_key, without) = split_by_key(&rows, key)?;
        rows = with_key;
        let reason = format!("{} is null, and rows are told apart by it", key.join(" or "));
        for (record, _) in by_origin.of(stream, &without)? {
            aside.push(PutAside::of(&record, reason.clone()));
        }
    }
    if stream.mirrors() && now.partitions > 1 {
        let of_all = changes::which(&rows, &["t"]);
        for (record, _) in by_origin.of(stream, &filter_record_batch(&rows, &of_all)?)? {
            aside.push(PutAside::of(&record, TRUNCATED.into()));
        }
        rows = filter_record_batch(&rows, &arrow::compute::not(&of_all)?)?;
    }
    if matches!(stream.sink, Some(Sink::Postgres(_))) {
        let (fit, unfit) = split_by_nul(&rows)?;
        rows = fit;
        for (record, _) in by_origin.of(stream, &unfit)? {
            aside.push(PutAside::of(&record, NUL.into()));
        }
    }
    // Deleted rows are not checked.
    let (present, absent) = changes::split(&rows)?;
    rows = present;
    if let Some(contract) = &stream.contract {
        let report = contract.check(std::slice::from_ref(&rows), &Facts::at(now.at))?;
        if let Err(broken) = report.ok() {
            return Err(fatal(broken.to_string()));
        }
        for finding in report.findings.iter().filter(|one| one.bad > 0 && one.policy == Policy::Warn) {
            tracing::warn!(
                stream = stream.name,
                check = finding.name,
                rows = finding.bad,
                sample = finding.sample,
                "a check does not hold"
            );
        }
        for batch in &report.quarantined {
            for (record, row) in by_origin.of(stream, batch)? {
                let reason = batch.column_by_name(REASON).and_then(|column| column.as_string_opt::<i32>());
                let reason = reason.map_or_else(String::new, |reasons| reasons.value(row).to_owned());
                aside.push(PutAside::of(&record, reason));
            }
        }
        rows = report.passed.into_iter().next().unwrap_or_else(|| rows.slice(0, 0));
    }
    if let Some(windows) = &stream.windows {
        let timed = time.split(windows, &rows, now.at)?;
        for (record, row) in by_origin.of(stream, &timed.refused)? {
            aside.push(PutAside::of(&record, timed.reasons.get(row).cloned().unwrap_or_default()));
        }
        rows = timed.rows;
    }
    if absent.num_rows() > 0 {
        rows = in_order(stream, &rows, &absent)?;
    }
    if stream.starts_runs() {
        let (partitions, offsets) = origin(stream, &rows)?;
        let kept = (0..rows.num_rows()).map(|row| (partitions.value(row), offsets.value(row))).collect();
        let (calls, unfit) = calls(records, Some(&kept));
        aside.extend(unfit);
        return Ok(Sorted { rows: rows.slice(0, 0), aside, calls, gone, is_marked });
    }
    Ok(Sorted { rows, aside, calls: Vec::new(), gone, is_marked })
}

/// Merges two batches, ordered by partition and offset.
fn in_order(stream: &Stream, rows: &RecordBatch, others: &RecordBatch) -> TaskResult<RecordBatch> {
    let all = concat_batches(&rows.schema(), [rows, others])?;
    let (partitions, offsets) = origin(stream, &all)?;
    let mut places: Vec<usize> = (0..all.num_rows()).collect();
    places.sort_unstable_by_key(|row| (partitions.value(*row), offsets.value(*row)));
    let places: UInt64Array = places.into_iter().map(|row| Some(row as u64)).collect();
    Ok(take_record_batch(&all, &places)?)
}

/// Removes requests to copy the table, which captures send, from the rows. Returns true if there was a request and the
/// stream is a mirror.
fn take_marks(stream: &Stream, rows: &mut RecordBatch) -> TaskResult<bool> {
    if stream.json.changes.is_none() {
        return Ok(false);
    }
    let are_marks = changes::which(rows, &[changes::MARK]);
    if are_marks.true_count() == 0 {
        return Ok(false);
    }
    *rows = filter_record_batch(rows, &arrow::compute::not(&are_marks)?)?;
    Ok(stream.mirrors())
}

fn split_by_key(rows: &RecordBatch, key: &[String]) -> TaskResult<(RecordBatch, RecordBatch)> {
    let columns: Vec<_> = key.iter().filter_map(|name| rows.column_by_name(name)).collect();
    if columns.iter().all(|column| column.null_count() == 0) {
        return Ok((rows.clone(), rows.slice(0, 0)));
    }
    // TRUNCATE has no key, because it affects all rows.
    let of_all = changes::which(rows, &["t"]);
    let whole = |row: usize| of_all.value(row) || columns.iter().all(|column| column.is_valid(row));
    let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(whole(row))).collect();
    Ok((filter_record_batch(rows, &keep)?, filter_record_batch(rows, &arrow::compute::not(&keep)?)?))
}

/// Separates rows that contain a NUL character from the others.
fn split_by_nul(rows: &RecordBatch) -> TaskResult<(RecordBatch, RecordBatch)> {
    let texts = rows.columns().iter().filter_map(|column| column.as_string_opt::<i32>());
    let doubtful: Vec<_> = texts.filter(|texts| texts.value_data().contains(&0)).collect();
    if doubtful.is_empty() {
        return Ok((rows.clone(), rows.slice(0, 0)));
    }
    let has_nul = |row: usize| doubtful.iter().any(|texts| texts.is_valid(row) && texts.value(row).contains('\0'));
    let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(!has_nul(row))).collect();
    Ok((filter_record_batch(rows, &keep)?, filter_record_batch(rows, &arrow::compute::not(&keep)?)?))
}

/// Looks up the record of a row. The index is built at the first lookup.
struct Origins<'a> {
    records: &'a Records,
    known: Option<HashMap<(i32, i64), usize>>,
}

impl<'a> Origins<'a> {
    /// Returns the record of each row together with the row's index.
    fn of(&mut self, stream: &Stream, rows: &RecordBatch) -> TaskResult<Vec<(Record<'a>, usize)>> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let records = self.records;
        let known = self.known.get_or_insert_with(|| {
            records.iter().enumerate().map(|(nth, record)| ((record.partition, record.offset), nth)).collect()
        });
        let (partitions, offsets) = origin(stream, rows)?;
        let nths = (0..rows.num_rows())
            .filter_map(|row| Some((known.get(&(partitions.value(row), offsets.value(row)))?, row)))
            .filter_map(|(nth, row)| Some((records.get(*nth)?, row)));
        Ok(nths.collect())
    }
}

pub(crate) type Origin<'a> = (&'a arrow::array::PrimitiveArray<Int32Type>, &'a arrow::array::PrimitiveArray<Int64Type>);

/// Returns the partition and offset columns of the rows.
pub(crate) fn origin<'a>(stream: &Stream, rows: &'a RecordBatch) -> TaskResult<Origin<'a>> {
    let partitions = rows.column_by_name(PARTITION).and_then(|column| column.as_primitive_opt::<Int32Type>());
    let offsets = rows.column_by_name(OFFSET).and_then(|column| column.as_primitive_opt::<Int64Type>());
    match (partitions, offsets) {
        (Some(partitions), Some(offsets)) => Ok((partitions, offsets)),
        _ => Err(fatal(format!(
            "the transformation of stream `{}` drops the columns `{PARTITION}` and `{OFFSET}`, so it is not known which record \
             a row is\nhint: hand them on",
            stream.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use orch_lake::TableDef;
    use orch_lake::contract::Contract;

    fn stream() -> Stream {
        let fields = [Field::new("id", DataType::Int64, true), Field::new("age", DataType::Int64, true)];
        Stream::new("users").topic("users").json(Schema::new(fields.to_vec()))
    }

    fn sorted(stream: &Stream, values: &[&str]) -> TaskResult<Sorted> {
        let mut records = Records::default();
        for (value, offset) in values.iter().zip(5..) {
            let value = Some(value.as_bytes());
            records.push(&Record {
                partition: 1,
                offset,
                at_ms: Some(0),
                key: Some(b"k"),
                value,
                old_key: None,
                has_new_key: false,
            });
        }
        sort(stream, &records, &mut EventTime::default(), SortContext { at: DateTime::UNIX_EPOCH, partitions: 1 })
    }

    #[test]
    fn what_breaks_the_contract_is_put_aside_as_it_came() {
        let contract = Contract::of("lake://db/users").between("age", 0, 150).or(Policy::Quarantine);
        let stream = stream().contract(contract).append("db.users".parse().unwrap(), TableDef::new());
        let sorted = sorted(&stream, &[r#"{"id":1,"age":7}"#, r#"{"id":2,"age":700}"#, "{"]).unwrap();
        assert_eq!(sorted.rows.num_rows(), 1);
        let aside: Vec<_> = sorted.aside.iter().map(|one| (one.offset, one.value.as_deref().unwrap())).collect();
        assert_eq!(aside, [(7, "{"), (6, r#"{"id":2,"age":700}"#)]);
        assert!(sorted.aside[1].reason.contains("age"), "{:?}", sorted.aside);
        assert_eq!(
            (sorted.aside[1].partition, sorted.aside[1].key.as_deref(), sorted.aside[1].bytes),
            (1, Some("k"), 18)
        );
    }

    #[test]
    fn a_check_that_must_hold_stops_the_stream() {
        let contract = Contract::of("lake://db/users").not_null(["id"]);
        let stream = stream().contract(contract).append("db.users".parse().unwrap(), TableDef::new());
        assert!(sorted(&stream, &[r#"{"id":1}"#]).is_ok());
        let error = sorted(&stream, &[r#"{"age":1}"#]).err().expect("it fails");
        assert!(error.to_string().contains("breaks its contract"), "{error}");
    }

    #[test]
    fn a_row_without_its_key_cannot_replace_another() {
        let stream = stream().upsert("db.users".parse().unwrap(), TableDef::new(), &["id"], None);
        let sorted = sorted(&stream, &[r#"{"id":1}"#, r#"{"age":3}"#]).unwrap();
        assert_eq!((sorted.rows.num_rows(), sorted.aside.len(), sorted.aside[0].offset), (1, 1, 6));
        assert!(sorted.aside[0].reason.starts_with("id is null"), "{}", sorted.aside[0].reason);
    }

    #[test]
    fn a_transformation_that_hides_where_rows_came_from_is_refused() {
        let stream = stream().transform(|rows| Ok(rows.project(&[0])?)).upsert(
            "db.users".parse().unwrap(),
            TableDef::new(),
            &["id"],
            None,
        );
        let error = sorted(&stream, &[r#"{"age":3}"#]).err().expect("it fails");
        assert!(error.to_string().contains("_offset"), "{error}");
    }
}
