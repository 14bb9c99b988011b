//! Reduces a batch of changes to its effect on a table: the last row of each key, and the deleted keys.
//!
//! All changes of a key are in one partition and are applied in offset order. A source that sends a change again also
//! sends all later changes again, so the table converges to the same state.

use super::{LSN, OLD_KEY, OP, UNAVAILABLE, key_from, value};
use crate::declare::Stream;
use crate::latest::{Sorter, one_batch, rows_with_keys, type_in};
use crate::sort::{PutAside, origin};
use arrow::array::{Array as _, AsArray as _, Int64Array, RecordBatch, UInt64Array, new_null_array};
use arrow::compute::{cast, interleave, take_record_batch};
use arrow::datatypes::Int64Type;
use orch_lake::Table;
use orch_lake::table::{At, FilesRead};
use orch_sdk::task::{TaskResult, fatal};
use std::collections::{BTreeMap, HashMap};

#[derive(Debug)]
pub(crate) struct Mirrored {
    /// The last row of each key that exists after the batch.
    pub(crate) rows: RecordBatch,
    /// Keys of the rows that the batch deletes.
    pub(crate) gone: RecordBatch,
    /// True if the batch contains a TRUNCATE, which deletes all existing rows of the table.
    pub(crate) is_emptied: bool,
    /// Changes whose rows contain null because the value of an unchanged column could not be found.
    pub(crate) incomplete: Vec<PutAside>,
}

impl Mirrored {
    fn of(outcome: &Outcome, changes: &RecordBatch, key: &[String], rows: RecordBatch) -> TaskResult<Mirrored> {
        let schema = changes.schema();
        let columns = key.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let gone = take_record_batch(&changes.project(&columns)?, &places(&outcome.gone))?;
        Ok(Mirrored { rows, gone, is_emptied: outcome.is_emptied, incomplete: Vec::new() })
    }
}

fn places(rows: &[usize]) -> UInt64Array {
    rows.iter().map(|row| Some(*row as u64)).collect()
}

/// Reduces changes, and reads the unchanged values that they omit from the table.
pub(crate) async fn mirror(
    table: &Table,
    stream: &Stream,
    lot: &[RecordBatch],
    key: &[String],
) -> TaskResult<Mirrored> {
    let changes = one_batch(lot)?;
    let mut sorter = Sorter::new(key, None, |name| type_in(table, name))?;
    let outcome = outcome(&changes, key, &mut sorter)?;
    let found = find(table, &outcome, &mut sorter).await?;
    let Filled { rows, missing } = fill(&changes, &outcome, &found)?;
    let mut incomplete = Vec::new();
    if !missing.is_empty() {
        let (partitions, offsets) = origin(stream, &changes)?;
        for (row, columns) in missing {
            let at = (partitions.value(row), offsets.value(row));
            let reason = format!(
                "the table has null in {}: the change does not have the value, and no earlier one is known. Reset the capture, whose \
                 snapshot has it, or set REPLICA IDENTITY FULL",
                columns.join(", ")
            );
            incomplete.push(PutAside::of_row(at, &changes.slice(row, 1), reason)?);
        }
    }
    Ok(Mirrored { incomplete, ..Mirrored::of(&outcome, &changes, key, rows)? })
}

/// Reduces changes without reading the table. Also returns the rows that omit unchanged columns: the table must keep
/// the values of these columns.
pub(crate) fn mirror_alone(lot: &[RecordBatch], key: &[String]) -> TaskResult<(Mirrored, Vec<RecordBatch>)> {
    let changes = one_batch(lot)?;
    let schema = changes.schema();
    let mut sorter = Sorter::new(key, None, |name| Ok(schema.field_with_name(name)?.data_type().clone()))?;
    let mut outcome = outcome(&changes, key, &mut sorter)?;
    let mut left: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for ((row, column), known) in &outcome.fills {
        if matches!(known, FillSource::Table(_)) {
            left.entry(*row).or_default().push(column.clone());
        }
    }
    let Filled { rows: filled, .. } = fill(&changes, &outcome, &TableRows::default())?;
    let mut by_columns: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
    for (nth, row) in outcome.rows.iter().enumerate() {
        by_columns.entry(left.remove(row).unwrap_or_default()).or_default().push(nth);
    }
    let whole = by_columns.remove(&Vec::new()).unwrap_or_default();
    let mut partly = Vec::new();
    for (columns, rows) in by_columns {
        let kept: Vec<usize> =
            (0..schema.fields().len()).filter(|nth| !columns.contains(schema.field(*nth).name())).collect();
        partly.push(take_record_batch(&filled.project(&kept)?, &places(&rows))?);
    }
    let rows = take_record_batch(&filled, &places(&whole))?;
    outcome.rows.clear();
    Ok((Mirrored::of(&outcome, &changes, key, rows)?, partly))
}

type Key = Box<[u8]>;

/// Location of the value of a column that a change omits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FillSource {
    /// Index of a row in the batch.
    Lot(usize),
    /// The first of these candidates that exists in the table.
    Table(Vec<Candidate>),
}

/// A table row from before or after a change. If the source sends a change again, the table may already contain its
/// result, and also other rows with keys that were free when the change was made.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    key: Key,
    lsn: Option<i64>,
    is_since: bool,
}

impl Candidate {
    fn fits(&self, lsn: Option<i64>) -> bool {
        match (self.lsn, lsn) {
            (Some(change), Some(row)) => (row >= change) == self.is_since,
            // Without LSNs, assume that the table row is older than the change.
            _ => !self.is_since,
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Indexes of the batch rows that are written to the table.
    rows: Vec<usize>,
    /// Indexes of the batch rows whose keys are deleted from the table.
    gone: Vec<usize>,
    is_emptied: bool,
    /// Where to find omitted values, by row index and column.
    fills: BTreeMap<(usize, String), FillSource>,
}

#[derive(Clone, Copy)]
enum LastChange {
    Row(usize),
    /// A deleted row. `was` is the index of its last row in the batch, if there is one.
    Gone {
        was: Option<usize>,
        by: usize,
    },
}

impl LastChange {
    fn row(self) -> Option<usize> {
        match self {
            LastChange::Row(row) => Some(row),
            LastChange::Gone { was, .. } => was,
        }
    }
}

fn outcome(changes: &RecordBatch, key: &[String], sorter: &mut Sorter) -> TaskResult<Outcome> {
    let text = |name: &str| {
        let column = changes.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.ok_or_else(|| {
            fatal(format!(
                "the rows have no column `{name}`, which changes need\nhint: the transformation has to hand it on"
            ))
        })
    };
    let (ops, unavailable, old_keys) = (text(OP)?, text(UNAVAILABLE)?, text(OLD_KEY)?);
    let lsns = lsns(changes);
    let keys = sorter.keys(changes)?;
    let mut outcome = Outcome::default();
    let mut lasts: HashMap<Key, LastChange> = HashMap::new();
    for row in 0..changes.num_rows() {
        let own: Key = keys.row(row).as_ref().into();
        match ops.value(row) {
            "t" => {
                lasts.clear();
                outcome.fills.clear();
                outcome.is_emptied = true;
                continue;
            }
            "d" => {
                let was = lasts.get(&own).and_then(|last| last.row());
                lasts.insert(own, LastChange::Gone { was, by: row });
                continue;
            }
            _ => {}
        }
        if unavailable.is_valid(row) {
            let old = if old_keys.is_valid(row) { key_bytes(old_keys.value(row), key, changes, sorter)? } else { None };
            let before = old.as_ref().unwrap_or(&own);
            let candidate = |key: &Key, is_since| Candidate { key: key.clone(), lsn: lsn_at(lsns, row), is_since };
            for column in unavailable.value(row).split(',') {
                let known = match lasts.get(before).and_then(|last| last.row()) {
                    Some(was) => outcome.fills.get(&(was, column.to_owned())).cloned().unwrap_or(FillSource::Lot(was)),
                    None => FillSource::Table(vec![candidate(before, false)]),
                };
                let known = match known {
                    FillSource::Table(mut candidates) => {
                        candidates.insert(0, candidate(&own, true));
                        FillSource::Table(candidates)
                    }
                    known @ FillSource::Lot(_) => known,
                };
                outcome.fills.insert((row, column.to_owned()), known);
            }
        }
        lasts.insert(own, LastChange::Row(row));
    }
    for last in lasts.into_values() {
        match last {
            LastChange::Row(row) => outcome.rows.push(row),
            LastChange::Gone { by, .. } => outcome.gone.push(by),
        }
    }
    outcome.rows.sort_unstable();
    outcome.gone.sort_unstable();
    let kept = |row: &usize| outcome.rows.binary_search(row).is_ok();
    outcome.fills = std::mem::take(&mut outcome.fills).into_iter().filter(|((row, _), _)| kept(row)).collect();
    Ok(outcome)
}

/// Encodes the previous key of a changed row. Returns `None` if the text is not a valid key of the table.
fn key_bytes(text: &str, key: &[String], changes: &RecordBatch, sorter: &mut Sorter) -> TaskResult<Option<Key>> {
    let Ok(old) = key_from(text.as_bytes()) else { return Ok(None) };
    let schema = changes.schema();
    let mut columns = Vec::new();
    for name in key {
        let field = schema.field_with_name(name)?;
        let value = old.get(name.as_str()).cloned().unwrap_or_default();
        match value::column(field.data_type(), &[value]) {
            Ok(column) if column.null_count() == 0 => columns.push((name, column)),
            _ => return Ok(None),
        }
    }
    let keys = sorter.keys(&RecordBatch::try_from_iter(columns)?)?;
    Ok(Some(keys.row(0).as_ref().into()))
}

fn lsns(rows: &RecordBatch) -> Option<&Int64Array> {
    rows.column_by_name(LSN).and_then(|column| column.as_primitive_opt::<Int64Type>())
}

fn lsn_at(lsns: Option<&Int64Array>, row: usize) -> Option<i64> {
    lsns.filter(|lsns| lsns.is_valid(row)).map(|lsns| lsns.value(row))
}

/// Reference to a row in the current or an older snapshot of the table.
#[derive(Debug, Clone, Copy)]
struct TableRowRef {
    batch: usize,
    row: usize,
    lsn: Option<i64>,
}

/// Rows of the table by key, ordered from the latest snapshot to the oldest.
#[derive(Default)]
struct TableRows {
    batches: Vec<RecordBatch>,
    places: HashMap<Key, Vec<TableRowRef>>,
}

impl TableRows {
    fn add(&mut self, batches: Vec<RecordBatch>, sorter: &mut Sorter) -> TaskResult<()> {
        for rows in batches {
            let (keys, lsns) = (sorter.keys(&rows)?, lsns(&rows));
            for row in 0..rows.num_rows() {
                let place = TableRowRef { batch: self.batches.len(), row, lsn: lsn_at(lsns, row) };
                self.places.entry(keys.row(row).as_ref().into()).or_default().push(place);
            }
            self.batches.push(rows);
        }
        Ok(())
    }

    /// Returns true if older snapshots need not be read. After a key change, they may contain the result of an earlier
    /// delivery of the change, unless the first candidate is found.
    fn settles(&self, candidates: &[Candidate]) -> bool {
        let is_moved = candidates.iter().any(|candidate| candidate.key != candidates[0].key);
        self.place(if is_moved { &candidates[..1] } else { candidates }).is_some()
    }

    fn place(&self, candidates: &[Candidate]) -> Option<TableRowRef> {
        candidates.iter().find_map(|candidate| {
            self.places.get(&candidate.key)?.iter().find(|place| candidate.fits(place.lsn)).copied()
        })
    }
}

/// Rows to write, completed with the values that their changes omit.
struct Filled {
    rows: RecordBatch,
    /// Columns that are null because their value could not be found, by row index in the batch.
    missing: BTreeMap<usize, Vec<String>>,
}

fn fill(changes: &RecordBatch, outcome: &Outcome, found: &TableRows) -> TaskResult<Filled> {
    let mut missing: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let rows = take_record_batch(changes, &places(&outcome.rows))?;
    let schema = rows.schema();
    let mut columns = rows.columns().to_vec();
    for (nth, field) in schema.fields().iter().enumerate() {
        let of_column = outcome.fills.iter().filter(|((_, column), _)| column == field.name());
        let fills: HashMap<usize, &FillSource> = of_column.map(|((row, _), known)| (*row, known)).collect();
        if fills.is_empty() {
            continue;
        }
        let mut sources = vec![changes.column(nth).clone()];
        for batch in &found.batches {
            let column =
                batch.column_by_name(field.name()).map(|column| cast(column, field.data_type())).transpose()?;
            sources.push(column.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows())));
        }
        let mut place = |row: &usize| match fills.get(row) {
            None => (0, *row),
            Some(FillSource::Lot(was)) => (0, *was),
            Some(FillSource::Table(candidates)) => match found.place(candidates) {
                Some(TableRowRef { batch, row, .. }) => (batch + 1, row),
                None => {
                    missing.entry(*row).or_default().push(field.name().clone());
                    (0, *row)
                }
            },
        };
        let places: Vec<_> = outcome.rows.iter().map(&mut place).collect();
        let sources: Vec<_> = sources.iter().map(AsRef::as_ref).collect();
        columns[nth] = interleave(&sources, &places)?;
    }
    Ok(Filled { rows: RecordBatch::try_new(schema, columns)?, missing })
}

/// Reads the table rows that omitted values are copied from. If an earlier batch deleted the key of such a row, the row
/// is read from an older snapshot.
async fn find(table: &Table, outcome: &Outcome, sorter: &mut Sorter) -> TaskResult<TableRows> {
    let mut found = TableRows::default();
    let wanted = outcome.fills.values().filter_map(|known| match known {
        FillSource::Table(candidates) if !outcome.is_emptied => Some(candidates.as_slice()),
        _ => None,
    });
    let wanted: Vec<&[Candidate]> = wanted.collect();
    if wanted.is_empty() {
        return Ok(found);
    }
    let keys: Vec<&Key> =
        wanted.iter().flat_map(|candidates| candidates.iter().map(|candidate| &candidate.key)).collect();
    let asked = sorter.columns_of(&keys)?;
    // Snapshots share most of their data files. Cache the files, so that each is read once.
    let read = FilesRead::default();
    found.add(rows_with_keys(table, &asked, None, (At::Now, Some(&read))).await?, sorter)?;
    for snapshot in table.snapshots().iter().rev().skip(1) {
        if wanted.iter().all(|candidates| found.settles(candidates)) {
            break;
        }
        let at = At::Snapshot(snapshot.snapshot_id());
        found.add(rows_with_keys(table, &asked, None, (at, Some(&read))).await?, sorter)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Int64Type};
    use std::sync::Arc;

    /// A change of a test table with a small column and a large one. Updates may omit the large value.
    #[derive(Debug, Clone)]
    struct Event {
        op: &'static str,
        id: Option<i64>,
        small: i64,
        large: Option<i64>,
        old: Option<i64>,
        lsn: i64,
    }

    fn batch(events: &[Event]) -> RecordBatch {
        let text =
            |of: fn(&Event) -> Option<String>| Arc::new(events.iter().map(of).collect::<StringArray>()) as ArrayRef;
        let long = |of: fn(&Event) -> Option<i64>| Arc::new(events.iter().map(of).collect::<Int64Array>()) as ArrayRef;
        let is_untold = |event: &Event| event.large.is_none() && matches!(event.op, "c" | "u");
        RecordBatch::try_from_iter_with_nullable([
            ("id", long(|event| event.id), true),
            ("small", long(|event| Some(event.small)), true),
            ("large", long(|event| event.large), true),
            (OP, text(|event| Some(event.op.to_owned())), true),
            (
                UNAVAILABLE,
                Arc::new(events.iter().map(|event| is_untold(event).then_some("large")).collect::<StringArray>()),
                true,
            ),
            (LSN, long(|event| Some(event.lsn)), true),
            (OLD_KEY, text(|event| event.old.map(|old| format!("{{\"id\":{old}}}"))), true),
        ])
        .unwrap()
    }

    /// Maps each key to its small value and its optional large value.
    type Rows = BTreeMap<i64, (i64, Option<i64>)>;

    /// All snapshots of a test table. Each row has the LSN of its last change.
    #[derive(Default)]
    struct Kept(Vec<Snapshot>);

    type Snapshot = BTreeMap<i64, (i64, Option<i64>, i64)>;

    impl Kept {
        fn publish(&mut self, events: &[Event]) {
            let (changes, key) = (batch(events), ["id".to_owned()]);
            let mut sorter = Sorter::new(&key, None, |_| Ok(DataType::Int64)).unwrap();
            let outcome = outcome(&changes, &key, &mut sorter).unwrap();
            let mut rows = self.0.last().cloned().unwrap_or_default();
            let large = |row: usize| match outcome.fills.get(&(row, "large".to_owned())) {
                None => events[row].large,
                Some(FillSource::Lot(was)) => events[*was].large,
                Some(FillSource::Table(candidates)) => {
                    let fitting = |rows: &Snapshot, candidate: &Candidate| {
                        let key = sorter.columns_of(&[&candidate.key]).unwrap();
                        let key = key.column(0).as_primitive::<Int64Type>().value(0);
                        rows.get(&key).filter(|(.., lsn)| candidate.fits(Some(*lsn))).map(|(_, large, _)| *large)
                    };
                    let of = |candidate| self.0.iter().rev().find_map(|rows| fitting(rows, candidate));
                    candidates.iter().find_map(of).flatten()
                }
            };
            let filled = outcome.rows.iter().map(|row| {
                let Event { id, small, lsn, .. } = &events[*row];
                (id.unwrap(), (*small, large(*row), *lsn))
            });
            let filled: Vec<_> = filled.collect();
            if outcome.is_emptied {
                rows.clear();
            }
            for row in &outcome.gone {
                rows.remove(&events[*row].id.unwrap());
            }
            rows.extend(filled);
            self.0.push(rows);
        }
    }

    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % end
        }
    }

    /// Returns a random history of changes of five keys, and the resulting rows.
    fn history(dice: &mut Dice) -> (Vec<Event>, Rows) {
        let (mut rows, mut events) = (Rows::new(), Vec::new());
        for nth in 0..20 + dice.below(20) {
            let value = i64::try_from(nth).unwrap();
            let id = i64::try_from(dice.below(5)).unwrap();
            let event = Event { op: "u", id: Some(id), small: value, large: None, old: None, lsn: value };
            match (rows.get(&id).copied(), dice.below(12)) {
                (None, _) => {
                    rows.insert(id, (value, Some(value)));
                    events.push(Event { op: "c", large: Some(value), ..event });
                }
                (Some(_), 0) => {
                    rows.clear();
                    events.push(Event { op: "t", id: None, ..event });
                }
                (Some(_), 1 | 2) => {
                    rows.remove(&id);
                    events.push(Event { op: "d", small: 0, ..event });
                }
                (Some((small, large)), 3..=6) => {
                    let to = i64::try_from(dice.below(5)).unwrap();
                    if rows.contains_key(&to) {
                        continue;
                    }
                    rows.remove(&id);
                    rows.insert(to, (small, large));
                    events.push(Event { op: "d", small: 0, ..event.clone() });
                    events.push(Event { op: "c", id: Some(to), small, old: Some(id), ..event });
                }
                (Some((_, large)), 7..=9) => {
                    rows.insert(id, (value, large));
                    events.push(event);
                }
                (Some(_), _) => {
                    rows.insert(id, (value, Some(value)));
                    events.push(Event { large: Some(value), ..event });
                }
            }
        }
        (events, rows)
    }

    /// Asserts that the table converges to its source if batches end at random changes and earlier changes are sent
    /// again.
    #[test]
    fn a_table_comes_to_what_its_source_is_however_often_it_is_told() {
        for seed in 0..10_000 {
            let mut dice = Dice(seed);
            let (events, wanted) = history(&mut dice);
            let (mut kept, mut at, mut restarts, mut lots) = (Kept::default(), 0, dice.below(4), Vec::new());
            while at < events.len() {
                let mut end = events.len().min(at + 1 + dice.below(8));
                // A key change is a delete and an insert. Keep both in the same batch.
                while events.get(end).is_some_and(|next| next.old.is_some()) {
                    end += 1;
                }
                kept.publish(&events[at..end]);
                lots.push(at..end);
                at = end;
                if restarts > 0 && dice.below(3) == 0 {
                    restarts -= 1;
                    at = dice.below(at);
                    at -= usize::from(events[at].old.is_some());
                }
            }
            let found: Rows =
                kept.0.pop().unwrap().into_iter().map(|(id, (small, large, _))| (id, (small, large))).collect();
            assert_eq!(found, wanted, "seed {seed}: {lots:?} of {events:?}");
        }
    }
}
