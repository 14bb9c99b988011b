//! One capture at work: the snapshot, if it has none, and then the changes. It reads on while it publishes what was read.

use super::Capture;
use super::begin::{Begin, decide};
use super::envelope::{Caught, Origin, RowChange};
use super::lot::Lot;
use super::publish::{Part, Target};
use super::tables::{followed, published, with_key};
use super::transactions::Transactions;
use crate::declare::Stream;
use crate::run::Clock;
use anyhow::{Context as _, bail};
use orch_lake::source::postgres::replication::{CaughtTable, Message, Sent, Source, Tuple, row_of_copy};
use orch_sdk::task::{Connection, TaskResult};
use orch_store::stream::{CapturePhase, CapturePosition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Sessions of a capture are known by it at the server.
const SESSION: &str = "orch capture";
/// The server hears this often that the stream is there, by default six times before it would end the session.
const TICK: Duration = Duration::from_secs(10);
/// A server that has said nothing for so long is gone. By default it speaks every 30 s.
const SILENCE: Duration = Duration::from_mins(2);
/// Where nothing is captured the position moves this often: each write of it is news in the log of a source in the same cluster.
const IDLE_COMMIT: Duration = Duration::from_mins(1);

/// Runs until it fails: a stream has no end.
pub(crate) async fn run(
    stream: Arc<Stream>,
    capture: Capture,
    connection: Connection,
    target: Target,
) -> TaskResult<()> {
    let clock = Clock::of(&target.pool).await?;
    target.ensure_topics(&capture).await?;
    if let Some(prepare) = &capture.prepare {
        prepare(connection.clone()).await?;
    }
    let mut source = Source::open(&connection, &session_of(&stream.name)).await?;
    let identity = source.identity().await?;
    let left = target.left().await?;
    let name = format!("postgres:{}/{}/{}", identity.system, identity.database, capture.slot_of(&stream.name));
    let slot = source.slot(&capture.slot_of(&stream.name)).await?;
    let begin = decide(&capture, &stream.name, &left, &name, slot.as_ref())?;
    let (known, written) = (left.capture, identity.lsn);
    let mut at_work = AtWork {
        stream: stream.clone(),
        capture,
        source,
        database: identity.database,
        target,
        clock,
        from: 0,
        position: CapturePosition {
            phase: CapturePhase::Snapshot,
            slot: String::new(),
            lsn: written,
            within: None,
            tables: BTreeMap::new(),
            snapshots: known.as_ref().map_or(0, |known| known.snapshots),
            missing: Vec::new(),
            lag_ms: None,
        },
        written,
        lot: Lot::default(),
        publishing: JoinSet::new(),
    };
    match (begin, known) {
        (Begin::Changes, Some(known)) => at_work.go_on(&name, known).await?,
        (Begin::Snapshot { is_again }, _) => at_work.snapshot(&name, is_again).await?,
        (Begin::Changes, None) => bail!("changes without a position"),
    }
    at_work.follow().await
}

/// Names of sessions are not longer than 63 bytes.
fn session_of(stream: &str) -> String {
    let mut name = format!("{SESSION} {stream}");
    name.retain(|c| c.is_ascii_graphic() || c == ' ');
    name.truncate(63);
    name
}

struct AtWork {
    stream: Arc<Stream>,
    capture: Capture,
    source: Source,
    database: String,
    target: Target,
    clock: Clock,
    /// Up to there the last part that was handed over goes.
    from: u64,
    position: CapturePosition,
    /// Up to there the log of the source was written, as last seen.
    written: u64,
    lot: Lot,
    publishing: JoinSet<TaskResult<u64>>,
}

impl AtWork {
    fn slot(&self) -> String {
        self.capture.slot_of(&self.stream.name)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    async fn go_on(&mut self, identity: &str, known: CapturePosition) -> TaskResult<()> {
        let tables = followed(&mut self.source, &self.capture, &self.stream.name, &known.tables).await?;
        self.from = known.lsn;
        self.position = CapturePosition { missing: tables.missing, ..known };
        self.target.start(identity, &self.position, (self.written, false)).await
    }

    /// Reads all rows, with a new slot. What was written down before says so, and it begins again if it is cut off.
    async fn snapshot(&mut self, identity: &str, is_again: bool) -> TaskResult<()> {
        let tables = published(&mut self.source, &self.capture, &self.stream.name).await?;
        let slot = self.slot();
        self.position.slot.clone_from(&slot);
        self.position.tables = tables.numbers();
        self.position.snapshots += 1;
        self.from = self.position.lsn;
        self.target.start(identity, &self.position, (self.written, true)).await?;
        self.source.drop_slot(&slot).await?;
        let stream = &self.stream.name;
        tracing::info!(
            stream,
            slot,
            is_again,
            "the tables are read: it waits for transactions that are open at the source"
        );
        self.position.lsn = self.source.create_slot(&slot).await?;
        let mut last = None;
        for (name, table) in &tables.found {
            // The rows of an earlier snapshot may be gone from the source. Among several partitions nothing would say which rows came first.
            if is_again && self.capture.partitions_for(name) == 1 {
                self.tell(&caught(&self.capture, name, table), RowChange::Truncate, "true").await?;
            }
            self.read_table(name, table, &mut last).await?;
        }
        self.source.end_snapshot().await?;
        if let Some((caught, row)) = last {
            self.tell(&caught, RowChange::Read(row), "last").await?;
        }
        self.finish().await?;
        self.position.phase = CapturePhase::Changes;
        self.lot.touch();
        self.publish();
        self.finish().await?;
        tracing::info!(stream = self.stream.name, "all rows that were there are read; the changes follow");
        Ok(())
    }

    /// The last row of all is marked, so each waits for the next one.
    async fn read_table(
        &mut self,
        name: &str,
        table: &CaughtTable,
        last: &mut Option<(Caught, Tuple)>,
    ) -> TaskResult<()> {
        let caught = caught(&self.capture, name, table);
        self.source.begin_table(table).await?;
        while let Some(line) = self.source.next_row().await? {
            let row = row_of_copy(&line, table.columns.len())?;
            if let Some((caught, row)) = last.replace((caught.clone(), row)) {
                self.tell(&caught, RowChange::Read(row), "true").await?;
            }
        }
        Ok(())
    }

    /// A record of the snapshot.
    async fn tell(&mut self, caught: &Caught, change: RowChange, snapshot: &'static str) -> TaskResult<()> {
        let (lsn, now_ms) = (self.position.lsn, self.now_ms());
        let database = self.database.as_str();
        let origin = Origin { database, xid: None, previous: lsn, lsn, at_ms: now_ms, now_ms, snapshot };
        for record in caught.records(change, &origin)? {
            self.lot.push(&caught.topic, record);
        }
        self.lot.at_ms = Some(now_ms);
        if self.lot.is_full() {
            self.finish().await?;
            self.publish();
        }
        Ok(())
    }

    /// Until what was handed over is published.
    async fn finish(&mut self) -> TaskResult<()> {
        while let Some(done) = self.publishing.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Hands over what there is; it is published while more is read.
    fn publish(&mut self) {
        let lot = std::mem::take(&mut self.lot);
        self.position.lag_ms = lot.at_ms.map(|at_ms| (self.now_ms() - at_ms).max(0));
        let part = Part { lot, from: self.from, position: self.position.clone(), written: self.written };
        self.from = self.position.lsn;
        let target = self.target.clone();
        self.publishing.spawn(async move { target.publish(part).await });
    }

    async fn follow(mut self) -> TaskResult<()> {
        let topics = self.position.tables.iter().map(|(name, number)| (*number, self.capture.topic_of(name)));
        let at = (self.position.lsn, self.position.within);
        let mut transactions = Transactions::new(&self.stream.name, &self.database, topics.collect(), at);
        let publication = self.capture.publication_of(&self.stream.name);
        self.source.follow(&self.slot(), &publication, self.position.lsn).await?;
        let mut heard = Heard { confirmed: self.position.lsn, sent: 0, at: Instant::now(), committed: Instant::now() };
        let mut tick = Instant::now();
        loop {
            let is_full = self.lot.is_full();
            let due = match self.lot.since() {
                Some(_) if is_full => Instant::now(),
                Some(since) => since + self.stream.commit.every,
                None => tick + TICK,
            };
            tokio::select! {
                // What is read waits in the socket as long as the last part is not published.
                sent = self.source.next(), if !is_full => {
                    heard.at = Instant::now();
                    self.take(sent?, &mut transactions, &mut heard).await?;
                }
                Some(done) = self.publishing.join_next() => {
                    heard.confirmed = done??;
                    heard.committed = Instant::now();
                    self.source.confirm(heard.confirmed).await?;
                }
                () = sleep_until(due), if self.lot.since().is_some() && self.publishing.is_empty() => {
                    (self.position.lsn, self.position.within) = (transactions.lsn, transactions.within);
                    self.publish();
                }
                () = sleep_until(tick) => {
                    tick = Instant::now() + TICK;
                    let looked = timeout(SILENCE, self.look(&mut transactions, &heard)).await;
                    looked.context("the server does not answer")??;
                }
            }
        }
    }

    async fn take(&mut self, sent: Sent, transactions: &mut Transactions, heard: &mut Heard) -> TaskResult<()> {
        match sent {
            Sent::Change { message: Message::Relation(relation), .. } => {
                if transactions.captures(&relation) {
                    let publication = self.capture.publication_of(&self.stream.name);
                    let found = match relation.identity {
                        b'f' => self.source.tables(&publication, &[], &[relation.id]).await?,
                        _ => Vec::new(),
                    };
                    let before = transactions.known(relation.id);
                    let relation = with_key(relation, found.first(), before, &self.stream.name)?;
                    transactions.learn(relation);
                }
            }
            Sent::Change { lsn, message, .. } => {
                let now_ms = self.now_ms();
                transactions.take(lsn, message, now_ms, &mut self.lot)?;
            }
            Sent::Alive { lsn, wants_answer } => {
                heard.sent = lsn;
                if wants_answer {
                    self.source.confirm(heard.confirmed).await?;
                }
            }
        }
        Ok(())
    }

    /// Now and then: the server hears of the stream, and the position moves over what is not captured.
    async fn look(&mut self, transactions: &mut Transactions, heard: &Heard) -> TaskResult<()> {
        if heard.at.elapsed() >= SILENCE {
            bail!("the server has said nothing for {} s", SILENCE.as_secs());
        }
        self.source.confirm(heard.confirmed).await?;
        self.written = self.source.written().await?;
        let is_idle = transactions.is_between() && self.lot.since().is_none() && self.publishing.is_empty();
        if is_idle && heard.sent > transactions.lsn && heard.committed.elapsed() >= IDLE_COMMIT {
            let tables = followed(&mut self.source, &self.capture, &self.stream.name, &self.position.tables).await?;
            self.position.missing = tables.missing;
            transactions.lsn = heard.sent;
            self.lot.touch();
        }
        Ok(())
    }
}

/// What was heard of the server, and told to it.
struct Heard {
    /// Published up to there.
    confirmed: u64,
    /// Everything up to there was sent.
    sent: u64,
    at: Instant,
    committed: Instant,
}

fn caught(capture: &Capture, name: &str, table: &CaughtTable) -> Caught {
    Caught { relation: table.relation(), topic: capture.topic_of(name) }
}
