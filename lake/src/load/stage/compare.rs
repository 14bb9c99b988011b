//! Replaces all rows of a table most of which are unchanged. Reads the existing rows in parallel with the incoming
//! rows and sends only the differences. Rows are compared by their binary encoding.
//!
//! Incoming rows that arrive in the order of the table are compared one by one. Other rows are matched by key: hashes
//! of existing rows that have not arrived yet are kept in memory, up to a limit. An incoming row without a match is
//! sent, and the server compares it.
//!
//! Other writers are locked out from the first row on. Otherwise they could change a row after it was found to be
//! equal.

use super::super::refusal::about_rows;
use super::super::target;
use super::super::types::{names, quoted};
use super::{CopyIn, LOCK_TIMEOUT, MANY, STAGING, refused, same_key};
use crate::batches::Batches;
use crate::load::{Load, encode};
use crate::source::postgres::{Session, connect, declared_columns};
use anyhow::Context;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use orch_sdk::task::{Connection, TaskResult};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::{Client, CopyOutStream, Error};

/// Column of the staging table that is true for an existing row that did not arrive and must be deleted.
const IS_GONE: &str = "orch_is_gone";

/// Size in bytes of the blocks in which existing rows are read, and number of blocks to read ahead.
const BLOCK: usize = 1 << 18;
const BLOCKS: usize = 4;

/// Maximum size of a key in bytes. Keys are stored inline in a fixed-size array.
const KEY_BYTES: usize = 16;

type Key = [u8; KEY_BYTES];

/// Returns true if rows can be compared: the target table has all columns of the incoming rows, its primary key has a
/// fixed width, and it has no triggers. A trigger could change the effect of a statement, so the count of written
/// rows would be wrong.
pub(super) async fn is_possible(load: &Load, schema: &SchemaRef, db: &Client) -> TaskResult<bool> {
    let there = declared_columns(db, &load.name()).await?;
    let is_there = |name: &String| there.iter().any(|(column, ..)| column == name);
    if KeyColumns::of(load, schema).is_none() || !schema.fields().iter().all(|field| is_there(field.name())) {
        return Ok(false);
    }
    let has_key = "select exists (select from pg_constraint c where c.conrelid = to_regclass($1) and c.contype = 'p'
        and (select array_agg(a.attname::text order by 1) from pg_attribute a
            where a.attrelid = c.conrelid and a.attnum = any (c.conkey)) = (select array_agg(k order by 1) from unnest($2::text[]) k)
        and not exists (select from pg_trigger t where t.tgrelid = c.conrelid and not t.tgisinternal))";
    Ok(db.query_one(has_key, &[&load.name(), &load.key]).await?.get(0))
}

/// Replaces the rows of the target. Returns the number of incoming rows, of bytes sent, and of rows added or changed.
pub(super) async fn replace(
    load: &Load,
    connection: &Connection,
    batches: Batches,
    db: &Client,
) -> TaskResult<(u64, u64, u64)> {
    let (schema, name) = (batches.schema(), load.name());
    target::prepare(load, &schema, db).await?;
    super::lock(load, db).await?;
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let all = names(&columns);
    db.batch_execute(&format!(
        "create temp table orch_staging on commit drop as select {all}, false as {IS_GONE} from {name} with no data"
    ))
    .await?;
    let key = KeyColumns::of(load, &schema).context("it has no such key")?;
    let compared = compared(load, connection, batches.ahead(), (&columns, &key), db).await;
    let compared = compared.map_err(about_rows).with_context(|| format!("loading {name}"))?;
    let settled = settle(load, &columns, &compared, db).await.map_err(|error| refused(load, error))?;
    if compared.known + settled.added != compared.rows + settled.removed {
        let keys = compared.known + settled.added - settled.removed;
        return Err(super::same_key_twice(load, &format!("{} rows came, with {keys} keys", compared.rows)));
    }
    target::show(load, db).await?;
    Ok((compared.rows, compared.bytes, settled.added))
}

#[derive(Default)]
struct Compared {
    rows: u64,
    /// Number of existing rows of the target table.
    known: u64,
    staged: u64,
    bytes: u64,
    /// True if the staging table may contain the same row twice: as incoming and as deleted.
    is_mixed: bool,
}

async fn compared(
    load: &Load,
    connection: &Connection,
    mut batches: Batches,
    (columns, key): (&[String], &KeyColumns),
    db: &Client,
) -> TaskResult<Compared> {
    let mut known = KnownRows::read(load, connection, columns).await?;
    let mut copy = CopyIn::begin(STAGING, &[columns, &[IS_GONE.into()]].concat(), db).await?;
    let mut told = Compared::default();
    // Hashes of existing rows that have not arrived yet, by key.
    let (mut ahead, hashed) = (HashMap::<Key, u64>::new(), RandomState::new());
    let mut encoded = BytesMut::new();
    while let Some(batch) = batches.next().await.transpose()? {
        encoded.clear();
        encode::rows(&batch, &mut encoded)?;
        let mut rest = &encoded[..];
        for _ in 0..batch.num_rows() {
            let (row, others) = rest.split_at(length(rest).unwrap_or(rest.len()));
            rest = others;
            told.rows += 1;
            if known.row() == Some(row) {
                known.pass().await?;
                continue;
            }
            let its_key = key.read(row);
            let mut is_same = its_key.and_then(|key| ahead.remove(&key)).map(|known| known == hashed.hash_one(row));
            while its_key.is_some() && is_same.is_none() && ahead.len() < load.most_ahead {
                let Some(other) = known.row() else { break };
                match key.read(other) {
                    other_key if other_key == its_key => is_same = Some(other == row),
                    other_key => ahead.extend(other_key.map(|key| (key, hashed.hash_one(other)))),
                }
                known.pass().await?;
            }
            told.is_mixed |= is_same.is_none() && !known.is_over();
            if is_same != Some(true) {
                encode::longer(row, false, &mut copy.chunk);
                told.staged += 1;
                copy.send_full().await?;
            }
        }
    }
    let mut gone = ahead.into_keys();
    loop {
        let next = match gone.next() {
            Some(key) => Some(key),
            None => known.pass_key(key).await?,
        };
        let Some(next) = next else { break };
        key.put_gone(&next, columns.len(), &mut copy.chunk);
        told.staged += 1;
        copy.send_full().await?;
    }
    (told.known, told.bytes) = (known.rows, copy.end().await?);
    Ok(told)
}

#[derive(Default)]
struct Settled {
    removed: u64,
    added: u64,
}

async fn settle(load: &Load, columns: &[String], told: &Compared, db: &Client) -> Result<Settled, Error> {
    if told.staged == 0 {
        return Ok(Settled::default());
    }
    let (name, all, same_key) = (load.name(), names(columns), same_key(load));
    let key = names(&load.key);
    let values =
        |of: &str| columns.iter().map(|column| format!("{of}.{}", quoted(column))).collect::<Vec<_>>().join(", ");
    let (new, old) = (values("s"), values("t"));
    db.batch_execute(&match told.staged {
        MANY.. => format!("create index on {STAGING} ({key}); analyze {STAGING} ({key})"),
        _ => format!("analyze {STAGING}; set local enable_nestloop = on"),
    })
    .await?;
    if told.is_mixed {
        let came =
            format!("delete from {STAGING} t using {STAGING} s where t.{IS_GONE} and not s.{IS_GONE} and {same_key}");
        db.batch_execute(&came).await?;
    }
    let removed = format!(
        "delete from {name} t using {STAGING} s where {same_key} and (s.{IS_GONE} or ({new}) is distinct from ({old}))"
    );
    let added = format!(
        "insert into {name} ({all}) select {all} from {STAGING} s where not {IS_GONE} and not exists \
         (select from {name} t where {same_key})"
    );
    Ok(Settled { removed: db.execute(&removed, &[]).await?, added: db.execute(&added, &[]).await? })
}

/// The existing rows of the target in physical order. A separate task reads them ahead, because otherwise the server
/// would pause while incoming rows are processed.
struct KnownRows {
    /// Kept only to be dropped together with this value, which ends the session's transaction.
    _session: Session,
    _reader: JoinSet<()>,
    blocks: mpsc::Receiver<Result<Bytes, Error>>,
    block: Bytes,
    /// Byte range of the current row in the block. Empty after the last row.
    begin: usize,
    end: usize,
    /// Number of rows read so far.
    rows: u64,
}

impl KnownRows {
    async fn read(load: &Load, connection: &Connection, columns: &[String]) -> TaskResult<KnownRows> {
        let session = connect(connection).await?;
        // Makes the scan return rows in physical order. By default, it may start in the middle of the table or be
        // split among parallel workers.
        let in_order = "set local synchronize_seqscans = off; set local max_parallel_workers_per_gather = 0";
        // The lock timeout resolves a deadlock that the server cannot detect: a session that alters the table waits
        // for the load's lock, and this reading session of the same load waits for the altering session.
        session.batch_execute(&["begin read only", LOCK_TIMEOUT, in_order].join("; ")).await?;
        let sql = format!("copy (select {} from {}) to stdout (format binary)", names(columns), load.name());
        let pieces = session.copy_out(&sql).await?;
        let (mut reader, (to, blocks)) = (JoinSet::new(), mpsc::channel(BLOCKS));
        reader.spawn(read_ahead(pieces, to));
        let block = Bytes::new();
        let mut known = KnownRows { _session: session, _reader: reader, blocks, block, begin: 0, end: 0, rows: 0 };
        while known.block.len() < encode::HEAD.len() && known.more().await? {}
        known.end = encode::HEAD.len().min(known.block.len());
        known.advance().await?;
        Ok(known)
    }

    fn is_over(&self) -> bool {
        self.row().is_none()
    }

    /// Returns the bytes of the current row, or `None` after the last one.
    fn row(&self) -> Option<&[u8]> {
        (self.end > self.begin).then(|| &self.block[self.begin..self.end])
    }

    async fn pass(&mut self) -> TaskResult<()> {
        self.rows += 1;
        self.advance().await
    }

    /// Advances to the next row and returns the key of the row that was current before.
    async fn pass_key(&mut self, key: &KeyColumns) -> TaskResult<Option<Key>> {
        let read = self.row().and_then(|row| key.read(row));
        if read.is_some() {
            self.pass().await?;
        }
        Ok(read)
    }

    async fn advance(&mut self) -> TaskResult<()> {
        self.begin = self.end;
        let length = loop {
            match length(&self.block[self.begin..]) {
                Some(length) => break length,
                None if self.more().await? => {}
                None => anyhow::bail!("the rows of the table broke off"),
            }
        };
        let is_tail = self.block[self.begin..self.begin + length] == *encode::TAIL;
        self.end = self.begin + if is_tail { 0 } else { length };
        Ok(())
    }

    /// Receives the next block. Returns false after the last one.
    async fn more(&mut self) -> TaskResult<bool> {
        let Some(block) = self.blocks.recv().await.transpose()? else { return Ok(false) };
        let rest = &self.block[self.begin..];
        self.block = if rest.is_empty() { block } else { [rest, &block].concat().into() };
        (self.begin, self.end) = (0, 0);
        Ok(true)
    }
}

/// Reads rows from the server and sends them to a channel in blocks. Waits while the channel is full.
async fn read_ahead(pieces: CopyOutStream, to: mpsc::Sender<Result<Bytes, Error>>) {
    let (mut pieces, mut block) = (Box::pin(pieces), BytesMut::new());
    loop {
        let piece = pieces.next().await;
        let is_last = !matches!(piece, Some(Ok(_)));
        if let Some(Ok(piece)) = &piece {
            block.extend_from_slice(piece);
        }
        // The receiver closes the channel when the load has ended.
        if (block.len() >= BLOCK || is_last) && to.send(Ok(block.split().freeze())).await.is_err() {
            return;
        }
        if let Some(Err(error)) = piece {
            to.send(Err(error)).await.ok();
        }
        if is_last {
            return;
        }
    }
}

/// Column index and width in bytes of each key column.
struct KeyColumns(Vec<(usize, usize)>);

impl KeyColumns {
    /// Returns the key columns of a load. `None` if there is no key or it may be longer than `KEY_BYTES`.
    fn of(load: &Load, schema: &SchemaRef) -> Option<KeyColumns> {
        let column = |name: &String| {
            let (place, field) = schema.column_with_name(name)?;
            Some((place, width(field.data_type())?))
        };
        let columns = load.key.iter().map(column).collect::<Option<Vec<_>>>()?;
        let bytes: usize = columns.iter().map(|(_, width)| width).sum();
        (1..=KEY_BYTES).contains(&bytes).then_some(KeyColumns(columns))
    }

    /// Returns the key of a row, or `None` if one of its columns is null.
    fn read(&self, row: &[u8]) -> Option<Key> {
        let (mut key, mut end) = ([0; KEY_BYTES], 0);
        for &(place, width) in &self.0 {
            key.get_mut(end..end + width)?.copy_from_slice(field(row, place).filter(|field| field.len() == width)?);
            end += width;
        }
        Some(key)
    }

    /// Appends a staging row for an existing row that must be deleted. It contains only the key.
    fn put_gone(&self, key: &Key, columns: usize, into: &mut BytesMut) {
        let mut row = BytesMut::new();
        row.put_i16(columns as i16);
        for column in 0..columns {
            let before = self.0.iter().take_while(|(place, _)| *place != column);
            let begin: usize = before.map(|(_, width)| width).sum();
            match self.0.iter().find(|(place, _)| *place == column) {
                Some((_, width)) => encode::field(&mut row, &key[begin..begin + width]),
                None => row.put_i32(-1),
            }
        }
        encode::longer(&row, true, into);
    }
}

/// Returns the size of encoded values of a type, or `None` if the size varies.
fn width(of: &DataType) -> Option<usize> {
    Some(match of {
        DataType::Boolean => 1,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => 2,
        DataType::UInt16 | DataType::Int32 | DataType::Date32 => 4,
        DataType::UInt32 | DataType::Int64 | DataType::Time64(_) | DataType::Timestamp(..) => 8,
        DataType::FixedSizeBinary(16) => 16,
        _ => return None,
    })
}

/// Returns the length in bytes of the row or trailer at the start of the buffer, or `None` if it is incomplete.
fn length(bytes: &[u8]) -> Option<usize> {
    let (count, mut rest) = bytes.split_first_chunk()?;
    for _ in 0..i16::from_be_bytes(*count) {
        (_, rest) = encode::split_field(rest)?;
    }
    Some(bytes.len() - rest.len())
}

/// Returns a field, or `None` if it is null or missing.
fn field(row: &[u8], place: usize) -> Option<&[u8]> {
    let mut rest = row.get(2..)?;
    for _ in 0..place {
        (_, rest) = encode::split_field(rest)?;
    }
    encode::split_field(rest)?.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int16Array, Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;

    fn encoded() -> BytesMut {
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("")])), true),
            ("id", Arc::new(Int64Array::from(vec![Some(-7), Some(1 << 40), None])), true),
            ("line", Arc::new(Int16Array::from(vec![-2, 3, 4])), true),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("it is a batch");
        let mut into = BytesMut::new();
        encode::rows(&batch, &mut into).expect("all types are known");
        into
    }

    #[test]
    fn rows_are_told_apart_and_have_their_keys() {
        let (encoded, columns) = (encoded(), KeyColumns(vec![(2, 2), (1, 8)]));
        let (mut rest, mut keys) = (&encoded[..], vec![]);
        while let Some(end) = length(rest) {
            keys.push(columns.read(&rest[..end]));
            rest = &rest[end..];
        }
        assert!(rest.is_empty(), "{rest:?}");
        let key = |line: i16, id: i64| {
            let mut key = [0; KEY_BYTES];
            key[..2].copy_from_slice(&line.to_be_bytes());
            key[2..10].copy_from_slice(&id.to_be_bytes());
            Some(key)
        };
        assert_eq!(keys, [key(-2, -7), key(3, 1 << 40), None]);
        // A staging row for a deleted row has the same key, and one additional column.
        let mut gone = BytesMut::new();
        columns.put_gone(&key(3, 1 << 40).expect("it is one"), 3, &mut gone);
        assert_eq!((columns.read(&gone), length(&gone)), (key(3, 1 << 40), Some(gone.len())));
        assert_eq!((field(&gone, 0), field(&gone, 3)), (None, Some(&[1][..])));
    }

    #[test]
    fn what_is_not_all_there_has_no_length() {
        let encoded = encoded();
        let first = length(&encoded).expect("it is there");
        for end in 0..first {
            assert_eq!(length(&encoded[..end]), None, "{end} of {first} bytes");
        }
        assert_eq!(length(encode::TAIL), Some(2));
        assert_eq!(KeyColumns(vec![(0, 4)]).read(encode::TAIL), None);
    }
}
