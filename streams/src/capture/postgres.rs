//! Captures the changes of a Postgres database through a replication slot and a publication. The server keeps its WAL
//! for the slot, so the capture confirms its position to let the server delete WAL files.

mod begin;
mod table;
mod tables;
mod transactions;
mod value;

use super::Capture;
use super::envelope::{RowChange, records};
use super::lot::Lot;
use super::source::{Begin, CaptureRequest, OfSnapshot, Reached, Source};
use anyhow::{Context as _, bail};
use orch_lake::source::postgres::replication::{
    self, CaughtTable, Cell, Message, ReplicationMessage, Tuple, row_of_copy,
};
use orch_sdk::task::TaskResult;
use orch_store::stream::{CapturePosition, LogPosition, StreamCheckpoint};
use orch_store::topic::NewRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use table::{At, Caught, Origin};
use tables::{followed, published, with_key};
use transactions::Transactions;

/// Prefix of the application name of a capture's session at the server.
const SESSION: &str = "orch capture";

pub(super) struct Postgres {
    stream: String,
    capture: Arc<Capture>,
    source: replication::Source,
    database: String,
    identity: String,
    written: u64,
    /// Captured tables as of the snapshot, by name.
    tables: BTreeMap<String, CaughtTable>,
    /// Number of columns of the table that the snapshot is currently reading.
    width: usize,
    /// LSN of the snapshot.
    lsn: u64,
    missing: Vec<String>,
    known: BTreeMap<String, u32>,
    transactions: Transactions,
    /// LSN up to which changes are published.
    confirmed: u64,
    /// LSN up to which the server has sent all changes.
    sent: u64,
}

impl Postgres {
    fn slot(&self) -> String {
        self.capture.slot_of(&self.stream)
    }

    fn at(&self) -> LogPosition {
        LogPosition::Slot { slot: self.slot() }
    }
}

impl Source for Postgres {
    type Sent = ReplicationMessage;
    type Cell = Cell;

    async fn open(request: CaptureRequest) -> TaskResult<Postgres> {
        let CaptureRequest { stream, capture, connection, .. } = request;
        let mut source = replication::Source::open(&connection, &session_of(&stream)).await?;
        let found = source.identity().await?;
        let identity = format!("postgres:{}/{}/{}", found.system, found.database, capture.slot_of(&stream));
        let transactions = Transactions::new(&stream, &found.database, BTreeMap::new(), (0, None));
        Ok(Postgres {
            stream,
            capture,
            source,
            database: found.database,
            identity,
            written: found.lsn,
            tables: BTreeMap::new(),
            width: 0,
            lsn: 0,
            missing: Vec::new(),
            known: BTreeMap::new(),
            transactions,
            confirmed: 0,
            sent: 0,
        })
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn written(&self) -> u64 {
        self.written
    }

    async fn decide(&mut self, left: &StreamCheckpoint) -> TaskResult<Begin> {
        let slot = self.source.slot(&self.slot()).await?;
        begin::decide(&self.capture, &self.stream, left, &self.identity, slot.as_ref())
    }

    async fn find_tables(&mut self) -> TaskResult<BTreeMap<String, u32>> {
        let tables = published(&mut self.source, &self.capture, &self.stream).await?;
        let filtered = tables.found.values().find(|table| table.filter.is_some());
        if let (true, Some(table)) = (self.capture.snapshot_by_mirrors, filtered) {
            bail!(
                "the publication has only some rows of table `{}`, and a copy would have all\n\
                 hint: take `where` out of the publication, or `.snapshot_by_mirrors()` out of the capture; it is looked for again by itself",
                table.full_name()
            );
        }
        self.known = tables.numbers();
        self.tables = tables.found;
        Ok(self.known.clone())
    }

    fn before_snapshot(&self) -> LogPosition {
        self.at()
    }

    /// Creates a new replication slot and reads rows in the snapshot of the slot.
    async fn begin_snapshot(&mut self) -> TaskResult<Reached> {
        let slot = self.slot();
        self.source.drop_slot(&slot).await?;
        self.lsn = self.source.create_slot(&slot).await?;
        Ok(Reached { at: self.at(), lsn: self.lsn, within: None, missing: Vec::new() })
    }

    async fn begin_table(&mut self, name: &str) -> TaskResult<()> {
        let table = self.tables.get(name).context("a table that was not looked for")?;
        self.width = table.columns.len();
        self.source.begin_table(table).await
    }

    async fn next_row(&mut self) -> TaskResult<Option<Tuple>> {
        let line = self.source.next_row().await?;
        line.map(|line| row_of_copy(&line, self.width)).transpose()
    }

    async fn end_snapshot(&mut self) -> TaskResult<()> {
        self.source.end_snapshot().await
    }

    fn record(&self, table: &str, change: RowChange<Cell>, of: OfSnapshot) -> TaskResult<NewRecord> {
        let found = self.tables.get(table).context("a table that was not looked for")?;
        let caught = Caught { relation: found.relation(), topic: String::new() };
        let (database, lsn, OfSnapshot { now_ms, place }) = (self.database.as_str(), self.lsn, of);
        let origin = Origin { database, xid: None, previous: lsn, lsn, at_ms: now_ms, snapshot: place };
        let record = records(&At(&caught), change, &origin, now_ms)?.pop();
        record.context("a row without a record")
    }

    async fn resume(&mut self, known: &CapturePosition) -> TaskResult<Reached> {
        self.known.clone_from(&known.tables);
        self.missing = followed(&mut self.source, &self.capture, &self.stream, &self.known).await?.missing;
        Ok(Reached { at: known.at.clone(), lsn: known.lsn, within: known.within, missing: self.missing.clone() })
    }

    async fn follow(&mut self, from: &CapturePosition) -> TaskResult<()> {
        let topics = from.tables.iter().map(|(name, number)| (*number, self.capture.topic_of(name)));
        let at = (from.lsn, from.within);
        self.transactions = Transactions::new(&self.stream, &self.database, topics.collect(), at);
        (self.confirmed, self.sent) = (from.lsn, 0);
        let publication = self.capture.publication_of(&self.stream);
        self.source.follow(&self.slot(), &publication, from.lsn).await
    }

    async fn next(&mut self) -> TaskResult<ReplicationMessage> {
        self.source.next().await
    }

    async fn take(&mut self, sent: ReplicationMessage, now_ms: i64, lot: &mut Lot) -> TaskResult<()> {
        match sent {
            ReplicationMessage::Change { message: Message::Relation(relation), .. } => {
                if self.transactions.captures(&relation) {
                    let publication = self.capture.publication_of(&self.stream);
                    let found = match relation.identity {
                        b'f' => self.source.tables(&publication, &[], &[relation.id]).await?,
                        _ => Vec::new(),
                    };
                    let before = self.transactions.known(relation.id);
                    let relation = with_key(relation, found.first(), before, &self.stream)?;
                    self.transactions.learn(relation);
                }
            }
            ReplicationMessage::Change { lsn, message, .. } => self.transactions.take(lsn, message, now_ms, lot)?,
            ReplicationMessage::Alive { lsn, wants_answer } => {
                self.sent = lsn;
                if wants_answer {
                    self.source.confirm(self.confirmed).await?;
                }
            }
        }
        Ok(())
    }

    fn reached(&self) -> Reached {
        let Transactions { lsn, within, .. } = self.transactions;
        Reached { at: self.at(), lsn, within, missing: self.missing.clone() }
    }

    async fn confirm(&mut self, lsn: u64) -> TaskResult<()> {
        self.confirmed = lsn;
        self.source.confirm(lsn).await
    }

    async fn poll_log_end(&mut self) -> TaskResult<()> {
        self.source.ask_whether_alive(self.confirmed).await?;
        self.written = self.source.written().await?;
        Ok(())
    }

    async fn pass_over(&mut self) -> TaskResult<bool> {
        if !self.transactions.is_between() || self.sent <= self.transactions.lsn {
            return Ok(false);
        }
        self.missing = followed(&mut self.source, &self.capture, &self.stream, &self.known).await?.missing;
        self.transactions.lsn = self.sent;
        Ok(true)
    }
}

/// Returns the application name of the session, truncated to the 63 bytes that Postgres allows.
fn session_of(stream: &str) -> String {
    let mut name = format!("{SESSION} {stream}");
    name.retain(|c| c.is_ascii_graphic() || c == ' ');
    name.truncate(63);
    name
}
