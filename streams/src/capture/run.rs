//! Runs one capture: takes the snapshot if necessary, then follows the changes. The next batch is read while the
//! previous one is published.

use super::envelope::RowChange;
use super::lot::Lot;
use super::publish::{PositionedLot, Target};
use super::source::{Begin, CaptureRequest, OfSnapshot, Reached, Source};
use super::{Capture, CaptureDatabase, mysql, postgres};
use crate::declare::Stream;
use crate::run::Clock;
use anyhow::{Context as _, bail};
use orch_sdk::task::{Connection, TaskResult};
use orch_store::stream::{CapturePhase, CapturePosition};
use orch_store::topic::NewRecord;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Keepalive interval: with the server's default timeout, six keepalives fit into it.
const TICK: Duration = Duration::from_secs(10);
/// Maximum time without a message from the server. A live server always sends something: Postgres is polled at every
/// tick, and MySQL sends heartbeats.
const SILENCE: Duration = Duration::from_mins(2);
/// Interval for storing the position while no captured table changes. It is long because each write adds changes to the
/// source's log if the source is in the same database cluster as orch.
const IDLE_COMMIT: Duration = Duration::from_mins(1);

/// Runs a capture. Returns only on an error, because a stream has no end.
pub(crate) async fn run_capture(
    stream: Arc<Stream>,
    capture: Capture,
    connection: Connection,
    target: Target,
) -> TaskResult<()> {
    match capture.kind {
        CaptureDatabase::Postgres { .. } => {
            capture_from::<postgres::Postgres>(stream, capture, connection, target).await
        }
        CaptureDatabase::MySql { .. } => capture_from::<mysql::MySql>(stream, capture, connection, target).await,
    }
}

async fn capture_from<S: Source>(
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
    let left = target.left().await?;
    let capture = Arc::new(capture);
    let request =
        CaptureRequest { stream: stream.name.clone(), capture: capture.clone(), connection, since: left.created_at };
    let mut source = S::open(request).await?;
    let begin = source.decide(&left).await?;
    let known = left.capture;
    let position = CapturePosition {
        phase: CapturePhase::Snapshot,
        at: source.before_snapshot(),
        lsn: source.written(),
        within: None,
        tables: BTreeMap::new(),
        snapshots: known.as_ref().map_or(0, |known| known.snapshots),
        missing: Vec::new(),
        lag_ms: None,
        in_kafka: target.kafka.is_some(),
    };
    let (lot, publishing) = (Lot::default(), JoinSet::new());
    let mut at_work = AtWork { stream, capture, source, target, clock, from: 0, position, lot, publishing };
    match (begin, known) {
        (Begin::Changes, Some(known)) => at_work.go_on(known).await?,
        (Begin::Snapshot { is_again }, _) => at_work.snapshot(is_again).await?,
        (Begin::Changes, None) => bail!("changes without a position"),
    }
    at_work.follow().await
}

struct AtWork<S> {
    stream: Arc<Stream>,
    capture: Arc<Capture>,
    source: S,
    target: Target,
    clock: Clock,
    /// End position of the last batch that was passed to the publisher.
    from: u64,
    position: CapturePosition,
    lot: Lot,
    publishing: JoinSet<TaskResult<u64>>,
}

impl<S: Source> AtWork<S> {
    fn now_ms(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    async fn start(&mut self, moves: bool) -> TaskResult<()> {
        self.target.start(&self.source.identity(), &self.position, (self.source.written(), moves)).await
    }

    fn reached(&mut self, reached: Reached) {
        let Reached { at, lsn, within, missing } = reached;
        self.position = CapturePosition { at, lsn, within, missing, ..self.position.clone() };
    }

    async fn go_on(&mut self, known: CapturePosition) -> TaskResult<()> {
        let reached = self.source.resume(&known).await?;
        self.from = known.lsn;
        self.position = CapturePosition { in_kafka: self.target.kafka.is_some(), ..known };
        self.reached(reached);
        self.start(false).await
    }

    /// Reads all rows. Stores the phase first, so that an interrupted snapshot starts again.
    async fn snapshot(&mut self, is_again: bool) -> TaskResult<()> {
        let stream = self.stream.name.clone();
        self.position.tables = self.source.find_tables().await?;
        self.position.at = self.source.before_snapshot();
        self.position.snapshots += 1;
        self.from = self.position.lsn;
        self.start(true).await?;
        tracing::info!(stream, is_again, "the tables are read: it waits for transactions that are open at the source");
        let reached = self.source.begin_snapshot().await?;
        self.reached(reached);
        let tables: Vec<String> = self.position.tables.keys().cloned().collect();
        if self.capture.snapshot_by_mirrors {
            self.source.end_snapshot().await?;
            self.mark(&tables).await?;
            tracing::info!(stream, "mirrors are told to copy the tables; the changes follow");
        } else {
            self.read_tables(tables, is_again).await?;
            tracing::info!(stream, "all rows that were there are read; the changes follow");
        }
        self.finish().await?;
        self.position.phase = CapturePhase::Changes;
        self.lot.touch();
        self.publish();
        self.finish().await
    }

    /// Publishes the records that make mirrors copy the tables.
    async fn mark(&mut self, tables: &[String]) -> TaskResult<()> {
        for name in tables {
            let mark = self.source.record(name, RowChange::Mark, self.of_snapshot("true"))?;
            self.tell(name, mark).await?;
        }
        Ok(())
    }

    async fn read_tables(&mut self, tables: Vec<String>, is_again: bool) -> TaskResult<()> {
        let mut last: Option<(String, Vec<S::Cell>)> = None;
        for name in tables {
            // Delete the rows of an earlier snapshot, because they may no longer exist in the source. In a topic with
            // several partitions, the TRUNCATE would have no order relative to the rows.
            if is_again && self.capture.partitions_for(&name) == 1 {
                let record = self.source.record(&name, RowChange::Truncate, self.of_snapshot("true"))?;
                self.tell(&name, record).await?;
            }
            self.source.begin_table(&name).await?;
            // The last row of the snapshot is flagged in its record, so hold back each row until the next one is read.
            while let Some(row) = self.source.next_row().await? {
                if let Some((name, row)) = last.replace((name.clone(), row)) {
                    let record = self.source.record(&name, RowChange::Read(row), self.of_snapshot("true"))?;
                    self.tell(&name, record).await?;
                }
            }
        }
        self.source.end_snapshot().await?;
        if let Some((name, row)) = last {
            let record = self.source.record(&name, RowChange::Read(row), self.of_snapshot("last"))?;
            self.tell(&name, record).await?;
        }
        Ok(())
    }

    fn of_snapshot(&self, place: &'static str) -> OfSnapshot {
        OfSnapshot { now_ms: self.now_ms(), place }
    }

    /// Adds a snapshot record to the batch.
    async fn tell(&mut self, table: &str, record: NewRecord) -> TaskResult<()> {
        self.lot.push(&self.capture.topic_of(table), record);
        self.lot.at_ms = Some(self.now_ms());
        if self.lot.is_full() {
            self.finish().await?;
            self.publish();
        }
        Ok(())
    }

    /// Waits until all batches are published.
    async fn finish(&mut self) -> TaskResult<()> {
        while let Some(done) = self.publishing.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Passes the batch to the publisher, which runs while more is read.
    fn publish(&mut self) {
        let lot = std::mem::take(&mut self.lot);
        self.position.lag_ms = lot.at_ms.map(|at_ms| (self.now_ms() - at_ms).max(0));
        let part =
            PositionedLot { lot, from: self.from, position: self.position.clone(), written: self.source.written() };
        self.from = self.position.lsn;
        let target = self.target.clone();
        self.publishing.spawn(async move { target.publish(part).await });
    }

    async fn follow(mut self) -> TaskResult<()> {
        self.source.follow(&self.position).await?;
        let (mut heard, mut committed) = (Instant::now(), Instant::now());
        let mut tick = Instant::now();
        loop {
            let is_full = self.lot.is_full();
            if is_full {
                // Nothing is read while a full batch waits for the publisher. Do not count this time as silence of the
                // server.
                heard = Instant::now();
            }
            let due = match self.lot.since() {
                Some(_) if is_full => Instant::now(),
                Some(since) => since + self.stream.commit.every,
                None => tick + TICK,
            };
            tokio::select! {
                // Do not read while a full batch waits for the previous batch to be published (back-pressure). Changes
                // wait in the socket.
                sent = self.source.next(), if !is_full => {
                    heard = Instant::now();
                    let now_ms = self.clock.now().timestamp_millis();
                    self.source.take(sent?, now_ms, &mut self.lot).await?;
                }
                Some(done) = self.publishing.join_next() => {
                    committed = Instant::now();
                    self.source.confirm(done??).await?;
                }
                () = sleep_until(due), if self.lot.since().is_some() && self.publishing.is_empty() => {
                    let reached = self.source.reached();
                    self.reached(reached);
                    self.publish();
                }
                () = sleep_until(tick) => {
                    tick = Instant::now() + TICK;
                    let looked = timeout(SILENCE, self.poll_source((heard, committed))).await;
                    looked.context("the server does not answer")??;
                }
            }
        }
    }

    /// Runs at every tick: sends a keepalive, and advances the position past changes of tables that are not captured.
    async fn poll_source(&mut self, (heard, committed): (Instant, Instant)) -> TaskResult<()> {
        if heard.elapsed() >= SILENCE {
            bail!("the server has said nothing for {} s", SILENCE.as_secs());
        }
        self.source.poll_log_end().await?;
        let is_idle = self.lot.since().is_none() && self.publishing.is_empty() && committed.elapsed() >= IDLE_COMMIT;
        if is_idle && self.source.pass_over().await? {
            self.lot.touch();
        }
        Ok(())
    }
}
