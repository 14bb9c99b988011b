//! Aggregates the rows of a batch into the open windows of a stream.

use super::late::{CLOSED, event_times};
use super::{Measure, MeasureKind, Shape, WINDOW_END, WINDOW_START, Windows};
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, Int64Array, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use chrono::{DateTime, Utc};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::{OpenWindow, WindowChanges, WindowSpan, open_windows};
use serde_json::{Map, Number, Value, json};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Effects of a batch on the rows of the table and on the stored windows of the stream.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The changed windows with their new values.
    pub(crate) rows: RecordBatch,
    /// Key and start of session windows that were merged into others.
    pub(crate) merged: Option<RecordBatch>,
    pub(crate) changes: WindowChanges,
}

/// Adds rows to the open windows of the stream. `changes` contains the watermarks. Returns `None` if there are no rows.
pub(crate) async fn fold(
    db: &mut PgConnection,
    stream: &str,
    windows: &Windows,
    lot: &[RecordBatch],
    changes: WindowChanges,
) -> TaskResult<Option<Folded>> {
    let Some(first) = lot.iter().find(|rows| rows.num_rows() > 0) else { return Ok(None) };
    let mut added = OpenWindows::default();
    for rows in lot {
        added.add(windows, rows)?;
    }
    let known = open_windows(db, stream, &added.spans()?).await?;
    let merged = added.join(windows, known)?;
    let written = added.written(windows)?;
    let types = |name: &String| Ok::<_, anyhow::Error>(first.schema().field_with_name(name)?.data_type().clone());
    let types = windows.by.iter().map(types).collect::<TaskResult<Vec<_>>>()?;
    let rows = added.rows(windows, &types)?;
    let gone = (!merged.is_empty()).then(|| keys_of(windows, &types, merged.iter().map(|(key, start)| (key, *start))));
    let merged = merged.iter().map(|(key, start)| Ok((text_of(key)?, time_of(*start)?)));
    let merged = merged.collect::<TaskResult<Vec<_>>>()?;
    let changes = WindowChanges { written, merged, kept: windows.shape.kept(), ..changes };
    Ok(Some(Folded { rows, merged: gone.transpose()?, changes }))
}

type Key = Vec<String>;

/// Open windows by key, then by start time.
#[derive(Debug, Default)]
struct OpenWindows(BTreeMap<Key, BTreeMap<i64, Window>>);

#[derive(Debug, Clone, PartialEq)]
struct Window {
    end: i64,
    seen: Vec<MeasureAccumulator>,
}

/// State of a measure: the number of values, and their sum, minimum or maximum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct MeasureAccumulator {
    many: i64,
    value: f64,
}

impl MeasureAccumulator {
    fn add(&mut self, kind: MeasureKind, other: MeasureAccumulator) {
        self.value = match kind {
            _ if other.many == 0 => self.value,
            _ if self.many == 0 => other.value,
            MeasureKind::Count | MeasureKind::Sum | MeasureKind::Average => self.value + other.value,
            MeasureKind::Least => self.value.min(other.value),
            MeasureKind::Greatest => self.value.max(other.value),
        };
        self.many += other.many;
    }
}

impl Window {
    fn add(&mut self, measures: &[Measure], other: &Window) {
        self.end = self.end.max(other.end);
        for ((seen, measure), other) in self.seen.iter_mut().zip(measures).zip(&other.seen) {
            seen.add(measure.kind, *other);
        }
    }
}

impl OpenWindows {
    fn add(&mut self, windows: &Windows, rows: &RecordBatch) -> TaskResult<()> {
        let at = event_times(windows, rows)?;
        let closed = column(rows, CLOSED)?.as_primitive::<Int64Type>().clone();
        let keys = windows.by.iter().map(|name| texts(rows, name)).collect::<TaskResult<Vec<_>>>()?;
        let values = windows.measures.iter().map(|measure| numbers(rows, measure)).collect::<TaskResult<Vec<_>>>()?;
        for row in 0..rows.num_rows() {
            let key: Key = keys.iter().map(|column| column.value(row).to_owned()).collect();
            let seen = values.iter().map(|column| match column {
                None => MeasureAccumulator { many: 1, value: 0.0 },
                Some(column) if column.is_valid(row) => MeasureAccumulator { many: 1, value: column.value(row) },
                Some(_) => MeasureAccumulator::default(),
            });
            let seen: Vec<MeasureAccumulator> = seen.collect();
            let own = self.0.entry(key).or_default();
            // If windows overlap, the earlier ones may already be closed.
            let open = windows.shape.windows(at.value(row)).filter(|(_, end)| *end > closed.value(row));
            for (start, end) in open {
                put(own, windows, start, Window { end, seen: seen.clone() });
            }
        }
        Ok(())
    }

    /// Returns the time span of the windows that rows were added to, by key.
    fn spans(&self) -> TaskResult<Vec<WindowSpan>> {
        let spans = self.0.iter().filter_map(|(key, own)| {
            let from = *own.keys().next()?;
            let to = own.values().map(|window| window.end).max()?;
            Some((key, from, to))
        });
        spans
            .map(|(key, from, to)| Ok(WindowSpan { key: text_of(key)?, from: time_of(from)?, to: time_of(to)? }))
            .collect()
    }

    /// Merges stored windows into the windows that rows were added to, and ignores other stored windows. Returns the
    /// stored sessions that were merged into an earlier session.
    fn join(&mut self, windows: &Windows, known: Vec<OpenWindow>) -> TaskResult<BTreeSet<(Key, i64)>> {
        let mut merged = BTreeSet::new();
        for known in known {
            let key: Key = serde_json::from_str(&known.key)?;
            let Some(own) = self.0.get_mut(&key) else { continue };
            let (start, end) = (known.start.timestamp_micros(), known.end.timestamp_micros());
            let touches = |other: (&i64, &Window)| match windows.shape {
                Shape::Tumbling { .. } | Shape::Hopping { .. } => *other.0 == start,
                Shape::Session { .. } => *other.0 <= end && start <= other.1.end,
            };
            if own.iter().any(touches) {
                let seen = read(windows, &known.state)?;
                put(own, windows, start, Window { end, seen });
                merged.insert((key, start));
            }
        }
        merged.retain(|(key, start)| !self.0.get(key).is_some_and(|own| own.contains_key(start)));
        Ok(merged)
    }

    fn all(&self) -> impl Iterator<Item = (&Key, i64, &Window)> {
        self.0.iter().flat_map(|(key, own)| own.iter().map(move |(start, window)| (key, *start, window)))
    }

    fn written(&self, windows: &Windows) -> TaskResult<Vec<OpenWindow>> {
        let written = self.all().map(|(key, start, window)| {
            let seen = windows.measures.iter().zip(&window.seen);
            let state: Map<_, _> =
                seen.map(|(measure, seen)| (measure.name.clone(), json!([seen.many, of_number(seen.value)]))).collect();
            Ok(OpenWindow {
                key: text_of(key)?,
                start: time_of(start)?,
                end: time_of(window.end)?,
                state: state.into(),
            })
        });
        written.collect()
    }

    /// Converts the windows to rows of the table.
    fn rows(&self, windows: &Windows, types: &[DataType]) -> TaskResult<RecordBatch> {
        let keys = keys_of(windows, types, self.all().map(|(key, start, _)| (key, start)))?;
        let schema = keys.schema();
        let mut columns: Vec<(&str, ArrayRef)> =
            schema.fields().iter().map(|field| field.name().as_str()).zip(keys.columns().iter().cloned()).collect();
        columns.push((WINDOW_END, times(self.all().map(|(_, _, window)| window.end))));
        for (nth, measure) in windows.measures.iter().enumerate() {
            columns.push((&measure.name, measured(measure.kind, self.all().map(|(_, _, window)| window.seen[nth]))));
        }
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

/// Adds a window. Merges sessions that overlap or touch.
fn put(own: &mut BTreeMap<i64, Window>, windows: &Windows, mut start: i64, mut window: Window) {
    if let Shape::Session { .. } = windows.shape {
        // Stored sessions never overlap or touch each other, so the search ends at the first one that does not touch.
        while let Some((&other, _)) = own.range(..=window.end).next_back().filter(|(_, other)| other.end >= start) {
            start = start.min(other);
            if let Some(other) = own.remove(&other) {
                window.add(&windows.measures, &other);
            }
        }
        own.insert(start, window);
        return;
    }
    match own.get_mut(&start) {
        Some(known) => known.add(&windows.measures, &window),
        None => {
            own.insert(start, window);
        }
    }
}

fn read(windows: &Windows, state: &Value) -> TaskResult<Vec<MeasureAccumulator>> {
    let seen = windows.measures.iter().map(|measure| {
        let known = state.get(&measure.name).and_then(|known| Some((known.get(0)?.as_i64()?, number(known.get(1)?)?)));
        let (many, value) = known.ok_or_else(|| {
            fatal(format!(
                "open windows know nothing of the measure `{}`: the declaration was changed\n\
                 hint: read the topic anew with `orch streams reset … --to-earliest`, or give the stream another name",
                measure.name
            ))
        })?;
        Ok(MeasureAccumulator { many, value })
    });
    seen.collect()
}

/// Converts a number to JSON. An infinite sum (overflow) becomes text, because JSON has no infinity.
fn of_number(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> TaskResult<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| fatal(format!("the rows have no column `{name}`, and windows need it")))
}

pub(super) fn texts(rows: &RecordBatch, name: &str) -> TaskResult<StringArray> {
    Ok(cast(column(rows, name)?, &DataType::Utf8)?.as_string::<i32>().clone())
}

pub(super) type Numbers = PrimitiveArray<Float64Type>;

/// Returns the values to aggregate, or `None` if the measure counts rows.
pub(super) fn numbers(rows: &RecordBatch, measure: &Measure) -> TaskResult<Option<Numbers>> {
    let Some(of) = &measure.of else { return Ok(None) };
    Ok(Some(cast(column(rows, of)?, &DataType::Float64)?.as_primitive::<Float64Type>().clone()))
}

fn keys_of<'a>(
    windows: &Windows,
    types: &[DataType],
    keys: impl Iterator<Item = (&'a Key, i64)>,
) -> TaskResult<RecordBatch> {
    let keys: Vec<(&Key, i64)> = keys.collect();
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (nth, (name, data)) in windows.by.iter().zip(types).enumerate() {
        let texts = StringArray::from_iter_values(keys.iter().map(|(key, _)| &key[nth]));
        columns.push((name, cast(&texts, data)?));
    }
    columns.push((WINDOW_START, times(keys.iter().map(|(_, start)| *start))));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn times(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
}

fn measured(kind: MeasureKind, seen: impl Iterator<Item = MeasureAccumulator>) -> ArrayRef {
    let value = |seen: MeasureAccumulator| match kind {
        MeasureKind::Average => seen.value / seen.many as f64,
        MeasureKind::Count | MeasureKind::Sum | MeasureKind::Least | MeasureKind::Greatest => seen.value,
    };
    match kind {
        MeasureKind::Count => Arc::new(Int64Array::from_iter_values(seen.map(|seen| seen.many))),
        _ => Arc::new(seen.map(|seen| (seen.many > 0).then(|| value(seen))).collect::<Float64Array>()),
    }
}

fn text_of(key: &Key) -> TaskResult<String> {
    Ok(serde_json::to_string(key)?)
}

fn time_of(micros: i64) -> TaskResult<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| fatal(format!("{micros} µs since 1970 is no time")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000;

    /// Builds rows of (city, second, degrees). Windows are closed up to second `closed`.
    fn rows(all: &[(&str, i64, Option<f64>)], closed: i64) -> RecordBatch {
        let columns: [(&str, ArrayRef); 4] = [
            ("city", Arc::new(StringArray::from_iter_values(all.iter().map(|(city, ..)| *city)))),
            ("ts", times(all.iter().map(|(_, at, _)| at * SECOND))),
            ("temp", Arc::new(all.iter().map(|(.., temp)| *temp).collect::<Float64Array>())),
            (CLOSED, Arc::new(Int64Array::from_iter_values(all.iter().map(|_| closed * SECOND)))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn measured_windows(shape: Windows) -> Windows {
        shape.by(&["city"]).at("ts").count("n").average("temp", "mean").least("temp", "low").greatest("temp", "high")
    }

    fn lines(open: &OpenWindows) -> Vec<String> {
        let all = open.all().map(|(key, start, window)| {
            let seen: Vec<_> = window.seen.iter().map(|seen| format!("{}/{}", seen.many, seen.value)).collect();
            format!("{} {}-{} {}", key.join(","), start / SECOND, window.end / SECOND, seen.join(" "))
        });
        all.collect()
    }

    #[test]
    fn values_are_added_up_by_key_and_window() {
        let windows = measured_windows(Windows::tumbling(Duration::from_secs(10)));
        let mut open = OpenWindows::default();
        open.add(&windows, &rows(&[("a", 1, Some(3.0)), ("b", 2, None), ("a", 9, Some(5.0)), ("a", 10, Some(7.0))], 0))
            .unwrap();
        assert_eq!(lines(&open), ["a 0-10 2/0 2/8 2/3 2/5", "a 10-20 1/0 1/7 1/7 1/7", "b 0-10 1/0 0/0 0/0 0/0"]);
        let table = open.rows(&windows, &[DataType::Utf8]).unwrap();
        let mean = table.column_by_name("mean").unwrap().as_primitive::<Float64Type>();
        assert_eq!(mean.iter().collect::<Vec<_>>(), [Some(4.0), Some(7.0), None]);
    }

    #[test]
    fn in_two_lots_windows_are_as_in_one() {
        for shape in [
            Windows::tumbling(Duration::from_secs(10)),
            Windows::hopping(Duration::from_secs(10), Duration::from_secs(5)),
            Windows::session(Duration::from_secs(4)),
        ] {
            let windows = measured_windows(shape);
            let all: Vec<_> =
                (0..60).map(|nth: i64| (["a", "b"][nth as usize % 2], nth * 37 % 101, Some(nth as f64))).collect();
            let mut whole = OpenWindows::default();
            whole.add(&windows, &rows(&all, -100)).unwrap();
            for cut in [1, 20, 59] {
                let mut first = OpenWindows::default();
                first.add(&windows, &rows(&all[..cut], -100)).unwrap();
                let mut table: BTreeMap<(Key, i64), Window> =
                    first.all().map(|(key, start, window)| ((key.clone(), start), window.clone())).collect();
                let mut second = OpenWindows::default();
                second.add(&windows, &rows(&all[cut..], -100)).unwrap();
                let merged = second.join(&windows, first.written(&windows).unwrap()).unwrap();
                table.retain(|place, _| !merged.contains(place));
                table.extend(second.all().map(|(key, start, window)| ((key.clone(), start), window.clone())));
                let expected: BTreeMap<_, _> =
                    whole.all().map(|(key, start, window)| ((key.clone(), start), window.clone())).collect();
                assert_eq!(table, expected, "{windows:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_sum_that_is_too_large_is_infinite_and_stays_so() {
        let windows = Windows::tumbling(Duration::from_secs(10)).by(&["city"]).at("ts").sum("temp", "total");
        let mut first = OpenWindows::default();
        first.add(&windows, &rows(&[("a", 1, Some(1e308)), ("a", 2, Some(1e308))], 0)).unwrap();
        let mut second = OpenWindows::default();
        second.add(&windows, &rows(&[("a", 3, Some(1.0))], 0)).unwrap();
        second.join(&windows, first.written(&windows).unwrap()).unwrap();
        assert_eq!(lines(&second), ["a 0-10 3/inf"]);
    }

    #[test]
    fn sessions_that_a_late_record_joins_become_one() {
        let windows = measured_windows(Windows::session(Duration::from_secs(5)));
        let mut known = OpenWindows::default();
        known.add(&windows, &rows(&[("a", 0, None), ("a", 8, None), ("a", 30, None)], -100)).unwrap();
        let mut open = OpenWindows::default();
        open.add(&windows, &rows(&[("a", 4, None)], -100)).unwrap();
        let merged = open.join(&windows, known.written(&windows).unwrap()).unwrap();
        assert_eq!(lines(&open), ["a 0-13 3/0 0/0 0/0 0/0"]);
        assert_eq!(merged.into_iter().collect::<Vec<_>>(), [(vec!["a".to_owned()], 8 * SECOND)]);
    }

    #[test]
    fn a_record_goes_to_those_of_its_windows_that_are_open() {
        let windows = measured_windows(Windows::hopping(Duration::from_secs(10), Duration::from_secs(5)));
        let mut open = OpenWindows::default();
        open.add(&windows, &rows(&[("a", 12, Some(1.0))], 15)).unwrap();
        assert_eq!(lines(&open), ["a 10-20 1/0 1/1 1/1 1/1"]);
    }
}
