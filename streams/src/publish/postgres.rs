//! Publishes to tables of a user's Postgres database.
//!
//! Rows and offsets are committed there in one transaction. The offsets in orch's database are committed second. After
//! a crash between the two commits, the stream reads some records again and skips those that the table already
//! contains.

use super::{IDENTITY, Lot, is_new, quarantined, unknown};
use crate::changes::{is_of_change, mirror_alone};
use crate::declare::{HowWritten, PostgresTable, Stream};
use crate::decode::{OFFSET, PARTITION};
use crate::gone::Deleted;
use crate::latest;
use arrow::array::RecordBatch;
use orch_lake::contract::quarantine_of;
use orch_lake::load::{Claim, Follower, Load, Offsets, Put, RowsRefused, TableBatch};
use orch_sdk::task::{Connection, TaskResult};
use orch_store::stream::{Lease, StartAt};
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Debug, Clone)]
pub(crate) struct PostgresTarget {
    follower: Follower,
    table: PostgresTable,
}

impl PostgresTarget {
    pub(crate) fn new(connection: &Connection, table: &PostgresTable, lease: &Lease, owner: &str) -> PostgresTarget {
        let follower = Follower::new(connection, &table.schema, &lease.name, owner, lease.epoch);
        PostgresTarget { follower, table: table.clone() }
    }

    fn load(&self) -> Load {
        let load = Load::into(&self.table.schema, &self.table.name);
        match &self.table.write {
            HowWritten::Append => load,
            HowWritten::Mirror { key } => load.key(key.iter().map(String::as_str)),
            HowWritten::Upsert { key, newest_by } => {
                let load = load.key(key.iter().map(String::as_str));
                newest_by.iter().fold(load, |load, column| load.version(column))
            }
        }
    }

    fn quarantine(&self) -> Load {
        Load::into(&self.table.schema, &quarantine_of(&self.table.name))
    }

    pub(super) async fn claim(&self, at: &[StartAt], empties: bool) -> TaskResult<()> {
        let moved: Vec<_> = at.iter().filter(|one| one.moves).map(|one| (one.partition, one.offset)).collect();
        let emptied = if empties { vec![self.load(), self.quarantine()] } else { Vec::new() };
        self.follower.claim(&Claim { moved: &moved, emptied: &emptied }).await
    }

    /// Publishes a batch. Records that the database rejects are quarantined, and all others are published.
    pub(super) async fn publish(&self, stream: &Stream, lot: &mut Lot) -> TaskResult<()> {
        let covered: Vec<_> = lot.covered.iter().map(|one| (one.partition, one.from, one.to)).collect();
        let whole = self.follower.publish(&covered, |known| self.parts(stream, lot, known)).await;
        let Err(error) = whole else { return Ok(()) };
        // A rejected window row cannot be quarantined, because it comes from many records.
        if RowsRefused::reason(&error).is_none() || stream.windows.is_some() {
            return Err(error);
        }
        let refused = self.find_refused(stream, &lot.rows).await?;
        if refused.is_empty() {
            // The database accepts each row on its own, so the rows conflict with each other.
            return Err(error);
        }
        tracing::warn!(
            stream = stream.name,
            records = refused.len(),
            "the database refuses records; they are quarantined"
        );
        lot.put_aside(stream, &refused)?;
        self.follower.publish(&covered, |known| self.parts(stream, lot, known)).await
    }

    /// Finds the rows that the database rejects. Returns the reason for each by (batch, row) index.
    async fn find_refused(
        &self,
        stream: &Stream,
        batches: &[RecordBatch],
    ) -> TaskResult<BTreeMap<(usize, usize), String>> {
        let mut refused = BTreeMap::new();
        for (nth, rows) in batches.iter().enumerate() {
            let parts = |known: &Offsets, range: Range<usize>| {
                let part = Lot { rows: vec![rows.slice(range.start, range.len())], ..Lot::default() };
                self.parts(stream, &part, known)
            };
            let found = self.follower.find_refused(rows.num_rows(), parts).await?;
            let reason = |(row, reason)| ((nth, row), format!("the database refuses it: {reason}"));
            refused.extend(found.into_iter().map(reason));
        }
        Ok(refused)
    }

    fn parts(&self, stream: &Stream, lot: &Lot, known: &Offsets) -> TaskResult<Vec<TableBatch>> {
        let mut parts = Vec::new();
        if let Some(merged) = &lot.merged {
            parts.push(TableBatch { load: self.load(), put: Put::Delete, rows: merged.clone() });
        }
        let rows = lot.rows.iter().map(|batch| unknown(stream, batch, known));
        let mut rows = rows.collect::<TaskResult<Vec<_>>>()?;
        let deleted = Deleted::of(lot.gone.iter().filter(|one| is_new(known, one.partition, one.offset)));
        if let (HowWritten::Upsert { key, .. }, Some(first)) = (&self.table.write, rows.first())
            && let [column] = key.as_slice()
            && let Some(keys) = deleted.keys(column, first.schema().field_with_name(column)?.data_type(), None)?
        {
            parts.push(TableBatch { load: self.load(), put: Put::Delete, rows: keys });
            for batch in &mut rows {
                *batch = deleted.leave(stream, batch, column)?;
            }
        }
        parts.extend(self.rows(&rows)?);
        let aside: Vec<_> = lot.aside.iter().filter(|one| is_new(known, one.partition, one.offset)).cloned().collect();
        if !aside.is_empty() {
            let rows = quarantined(&stream.topic, &aside)?;
            // Insert only absent records: after a reset, the stream reads quarantined records again.
            parts.push(TableBatch { load: self.quarantine(), put: Put::Absent(IDENTITY), rows });
        }
        Ok(parts)
    }

    fn rows(&self, rows: &[RecordBatch]) -> TaskResult<Vec<TableBatch>> {
        if rows.iter().all(|rows| rows.num_rows() == 0) {
            return Ok(Vec::new());
        }
        let part = |put, rows| TableBatch { load: self.load(), put, rows };
        Ok(match &self.table.write {
            HowWritten::Append => vec![part(Put::Append, without(&latest::one_batch(rows)?, is_origin)?)],
            HowWritten::Upsert { key, newest_by } => {
                let newest = latest::among(rows, key, newest_by.as_deref())?;
                vec![part(Put::Latest, without(&newest, is_origin)?)]
            }
            HowWritten::Mirror { key } => {
                let (mirrored, partly) = mirror_alone(rows, key)?;
                let is_other = |column: &str| is_origin(column) || is_of_change(column);
                let gone = part(if mirrored.is_emptied { Put::Empty } else { Put::Delete }, mirrored.gone);
                let mut parts = vec![gone, part(Put::Latest, without(&mirrored.rows, is_other)?)];
                for rows in partly {
                    parts.push(part(Put::Latest, without(&rows, is_other)?));
                }
                parts
            }
        })
    }
}

fn is_origin(column: &str) -> bool {
    matches!(column, PARTITION | OFFSET)
}

fn without(rows: &RecordBatch, is_left_out: impl Fn(&str) -> bool) -> TaskResult<RecordBatch> {
    let schema = rows.schema();
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|nth| !is_left_out(schema.field(*nth).name())).collect();
    Ok(rows.project(&kept)?)
}
