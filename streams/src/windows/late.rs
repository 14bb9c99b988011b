//! Rejects rows that are too late for their windows.
//!
//! The watermark of a partition is the highest event time that was read from it, updated by each record. It therefore
//! does not depend on how records are divided into batches: reading one partition ahead does not make records of other
//! partitions late, and records that are read again after a crash get the same result.
//!
//! A partition has no watermark until its first record is read. No window is closed while such a partition has unread
//! records. An empty partition does not delay windows, so its first records may be too late for some of them.

use super::fold::{Numbers, numbers, texts};
use super::{Windows, micros};
use crate::decode::PARTITION;
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, SecondsFormat, Utc};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::StreamCheckpoint;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Column that passes each row's closing time to `fold`: windows that end at or before this time do not accept the row.
pub(super) const CLOSED: &str = "_closed";
/// Maximum time that an event time may be in the future. Otherwise, a single record with a wrong clock would make all
/// later records late.
const MOST_AHEAD: Duration = Duration::from_hours(1);
/// Start of the year 1. Windows that are stored in Postgres cannot start much earlier.
const FIRST: i64 = -62_135_596_800_000_000;

/// Maximum size of the grouping columns of a row, in bytes of JSON. They are indexed by Postgres, which limits index
/// entries to 2,704 bytes.
const MAX_KEY_BYTES: usize = 1_024;

/// Watermarks by partition, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventTime {
    partitions: BTreeMap<i32, i64>,
    closed_before: Option<i64>,
}

/// Accepted and rejected rows, with a reason for each rejected row.
#[derive(Debug)]
pub(crate) struct Timed {
    /// Accepted rows with the additional column [`CLOSED`].
    pub(crate) rows: RecordBatch,
    pub(crate) refused: RecordBatch,
    pub(crate) reasons: Vec<String>,
}

impl EventTime {
    pub(crate) fn of(left: &StreamCheckpoint) -> EventTime {
        EventTime {
            partitions: left.watermarks.iter().map(|(partition, at)| (*partition, at.timestamp_micros())).collect(),
            closed_before: left.closed_before.map(|at| at.timestamp_micros()),
        }
    }

    /// Returns true if all given partitions have a watermark.
    pub(crate) fn knows(&self, mut partitions: impl Iterator<Item = i32>) -> bool {
        partitions.all(|partition| self.partitions.contains_key(&partition))
    }

    /// Closes windows whose end plus the allowed lateness is before every known watermark. Windows stay closed for all
    /// records that are read later, in this process and after a restart.
    pub(crate) fn close(&mut self, windows: &Windows) {
        let slowest = self.partitions.values().min().map(|at| at.saturating_sub(micros(windows.late)));
        self.closed_before = self.closed_before.max(slowest);
    }

    /// Returns the time up to which the last [`EventTime::close`] closed windows.
    pub(crate) fn closed_before(&self) -> Option<DateTime<Utc>> {
        self.closed_before.and_then(DateTime::from_timestamp_micros)
    }

    pub(crate) fn watermarks(&self) -> Vec<(i32, DateTime<Utc>)> {
        let moments = self.partitions.iter();
        moments.filter_map(|(partition, at)| Some((*partition, DateTime::from_timestamp_micros(*at)?))).collect()
    }

    pub(crate) fn split(&mut self, windows: &Windows, rows: &RecordBatch, now: DateTime<Utc>) -> TaskResult<Timed> {
        let at = event_times(windows, rows)?;
        let partitions = rows.column_by_name(PARTITION).and_then(|column| column.as_primitive_opt::<Int32Type>());
        let partitions = partitions.ok_or_else(|| fatal(format!("the rows have no column `{PARTITION}`")))?;
        let measured = windows.measures.iter().map(|measure| numbers(rows, measure)).collect::<TaskResult<Vec<_>>>()?;
        let not_finite = |row: usize| {
            let is_finite = |column: &Numbers| column.is_null(row) || column.value(row).is_finite();
            let column = measured.iter().position(|column| column.as_ref().is_some_and(|column| !is_finite(column)))?;
            windows.measures[column].of.as_deref()
        };
        let keys = windows.by.iter().map(|name| texts(rows, name)).collect::<TaskResult<Vec<_>>>()?;
        let key_bytes = |row: usize| keys.iter().map(|column| json_bytes(column.value(row))).sum::<usize>();
        let latest = now.timestamp_micros().saturating_add(micros(MOST_AHEAD));
        let (mut keep, mut closed, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows.num_rows() {
            let partition = partitions.value(row);
            let verdict = if at.is_null(row) {
                Err(format!("`{}` is null, so it is in no window", windows.at))
            } else if let Some(column) = not_finite(row) {
                Err(format!("`{column}` is NaN or infinite, so it cannot be measured"))
            } else if key_bytes(row) > MAX_KEY_BYTES {
                let columns = windows.by.join("` and `");
                Err(format!("`{columns}` have {} bytes; windows group by at most {MAX_KEY_BYTES}", key_bytes(row)))
            } else if at.value(row) < FIRST {
                Err(format!("`{}` is before the year 1", windows.at))
            } else if at.value(row) > latest {
                Err(format!("`{}` is more than an hour from now: {}", windows.at, format_timestamp(at.value(row))))
            } else {
                self.admit(windows, partition, at.value(row))
            };
            match verdict {
                Ok(until) => {
                    keep.push(true);
                    closed.push(until);
                }
                Err(reason) => {
                    keep.push(false);
                    reasons.push(reason);
                }
            }
        }
        let keep = BooleanArray::from(keep);
        let kept = filter_record_batch(rows, &keep)?;
        let refused = filter_record_batch(rows, &arrow::compute::not(&keep)?)?;
        let mut fields: Vec<_> = kept.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(CLOSED, DataType::Int64, false)));
        let mut columns: Vec<ArrayRef> = kept.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(closed)));
        Ok(Timed { rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?, refused, reasons })
    }

    /// Returns the time up to which windows are closed for the record, or the reason why the record is late. Advances
    /// the watermark of the partition.
    fn admit(&mut self, windows: &Windows, partition: i32, at: i64) -> Result<i64, String> {
        let watermark = self.partitions.get(&partition).copied();
        let reached = watermark.map_or(i64::MIN, |watermark| watermark.saturating_sub(micros(windows.late)));
        let closed = reached.max(self.closed_before.unwrap_or(i64::MIN));
        let end = windows.shape.windows(at).map(|(_, end)| end).max().unwrap_or(i64::MAX);
        if end <= closed {
            return Err(format!(
                "it is late: its window ended at {}, and windows until {} are closed",
                format_timestamp(end),
                format_timestamp(closed)
            ));
        }
        self.partitions.insert(partition, watermark.map_or(at, |watermark| watermark.max(at)));
        Ok(closed)
    }
}

/// Returns the size of a text as JSON, the form in which open windows are stored. A control character takes six bytes.
fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        0..0x20 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    if text.len() <= MAX_KEY_BYTES { text.bytes().map(escaped).sum() } else { text.len() }
}

/// Returns event times in microseconds since the Unix epoch.
pub(super) fn event_times(
    windows: &Windows,
    rows: &RecordBatch,
) -> TaskResult<arrow::array::PrimitiveArray<TimestampMicrosecondType>> {
    let column = rows.column_by_name(&windows.at);
    let column =
        column.ok_or_else(|| fatal(format!("windows are by `{}`, and the rows have no such column", windows.at)))?;
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.as_ref().map(|_| "+00:00".into()),
        other => return Err(fatal(format!("windows are by `{}`, which is no timestamp but `{other}`", windows.at))),
    };
    let column = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(column.as_primitive::<TimestampMicrosecondType>().clone())
}

fn format_timestamp(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, TimestampMicrosecondArray};

    const SECOND: i64 = 1_000_000;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000, 0).unwrap()
    }

    /// Builds rows from (partition, second) pairs.
    fn rows(all: &[(i32, Option<i64>)]) -> RecordBatch {
        let at: TimestampMicrosecondArray = all.iter().map(|(_, at)| at.map(|at| at * SECOND)).collect();
        let partitions = Int32Array::from_iter_values(all.iter().map(|(partition, _)| *partition));
        let columns: [(&str, ArrayRef); 2] = [("ts", Arc::new(at)), (PARTITION, Arc::new(partitions))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn windows() -> Windows {
        Windows::tumbling(Duration::from_secs(10)).at("ts").allow_late(Duration::from_secs(5)).count("n")
    }

    fn kept(timed: &Timed) -> Vec<i64> {
        let at = timed.rows.column(0).as_primitive::<TimestampMicrosecondType>();
        at.values().iter().map(|at| at / SECOND).collect()
    }

    #[test]
    fn a_record_is_late_when_its_partition_is_further_than_is_allowed() {
        let mut time = EventTime::default();
        let all = rows(&[(0, Some(3)), (0, Some(14)), (0, Some(4)), (0, Some(15)), (0, Some(5)), (1, Some(6))]);
        let timed = time.split(&windows(), &all, now()).unwrap();
        // At second 14, the first window is open for one more second. The other partition has a lower watermark.
        assert_eq!(kept(&timed), [3, 14, 4, 15, 6]);
        assert!(timed.reasons[0].starts_with("it is late"), "{:?}", timed.reasons);
        assert_eq!(time.watermarks().iter().map(|(_, at)| at.timestamp()).collect::<Vec<_>>(), [15, 6]);
    }

    #[test]
    fn the_first_records_of_a_partition_may_come_after_windows_were_closed() {
        let mut time = EventTime::default();
        time.split(&windows(), &rows(&[(0, Some(3)), (0, Some(34))]), now()).unwrap();
        assert!(time.knows([0].into_iter()) && !time.knows([0, 1].into_iter()));
        assert_eq!(time.closed_before(), None);
        time.close(&windows());
        assert_eq!(time.closed_before().map(|at| at.timestamp()), Some(29));
        let timed = time.split(&windows(), &rows(&[(1, Some(12)), (1, Some(22)), (0, Some(21))]), now()).unwrap();
        assert_eq!(kept(&timed), [22, 21], "the window of 12 ended at 20");
        time.close(&windows());
        assert_eq!(time.closed_before().map(|at| at.timestamp()), Some(29), "it never goes back");
    }

    #[test]
    fn how_records_are_cut_into_lots_decides_nothing() {
        let all: Vec<_> = (0..200).map(|nth: i64| (0, Some((nth * 7919) % 97))).collect();
        let mut whole = EventTime::default();
        let expected = kept(&whole.split(&windows(), &rows(&all), now()).unwrap());
        assert!(expected.len() < all.len());
        for size in [1, 3, 50] {
            let mut time = EventTime::default();
            let mut found = Vec::new();
            for lot in all.chunks(size) {
                found.extend(kept(&time.split(&windows(), &rows(lot), now()).unwrap()));
            }
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_value_that_cannot_be_measured_is_refused() {
        let windows = windows().average("temp", "mean");
        let all = rows(&[(0, Some(3)), (0, Some(4)), (0, Some(5)), (0, Some(-63_000_000_000)), (0, Some(6))]);
        let temp = Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(f64::INFINITY), Some(1.0), None]);
        let fields =
            all.schema_ref().fields().iter().cloned().chain([Arc::new(Field::new("temp", DataType::Float64, true))]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = all.columns().iter().cloned().chain([Arc::new(temp) as ArrayRef]);
        let timed =
            EventTime::default().split(&windows, &RecordBatch::try_new(schema, columns.collect()).unwrap(), now());
        let timed = timed.unwrap();
        assert_eq!(kept(&timed), [3, 6]);
        let reason = "`temp` is NaN or infinite, so it cannot be measured";
        assert_eq!(timed.reasons, [reason, reason, "`ts` is before the year 1"]);
    }

    #[test]
    fn a_wrong_clock_makes_no_other_record_late() {
        let mut time = EventTime::default();
        let far = now().timestamp() + 7_200;
        let timed = time.split(&windows(), &rows(&[(0, Some(far)), (0, None), (0, Some(3))]), now()).unwrap();
        assert_eq!(kept(&timed), [3]);
        assert!(
            timed.reasons[0].contains("an hour from now") && timed.reasons[1].contains("null"),
            "{:?}",
            timed.reasons
        );
    }
}
