//! Runs the streams of a process: acquires leases of unowned streams, renews its leases, and stops streams whose lease
//! is lost.

mod aborts;
mod works;

pub(crate) use self::aborts::{KafkaAbort, record_aborts};
use self::works::Works;
use crate::capture;
use crate::declare::{Sink, Stream};
use crate::publish::{LakeTarget, NotPublished, PostgresTarget, RunsTarget, Target, To};
use crate::run;
use crate::shares;
use crate::snapshot::Snapshot;
use crate::topic::{self, LogEnds};
use orch_lake::Lake;
use orch_sdk::task::{Connection, TaskError, TaskResult, fatal};
use orch_store::hint::Hint;
use orch_store::identity::identity;
use orch_store::stream::{
    Beat, Lease, NewStream, ShareBeat, ShareLease, StoppedStream, StreamHost, alert_of_stopped_stream, beat,
    beat_shares, drop_old_minutes, fail_stream, failures_of, get_stream, left_behind, register_streams,
    release_streams,
};
use orch_store::{StoreError, StoreResult};
use sqlx::{Connection as _, PgConnection};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// Maximum number of streams per process.
const MOST: usize = 64;
/// Number of heartbeats per lease period. Two consecutive heartbeats may fail without losing the lease.
const BEATS: u32 = 3;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(5);
/// Number of consecutive failures after which an alert is sent. They take about half a minute, longer than a server
/// restart.
const FAILURES_OF_ALERT: u32 = 6;
const OLD_MINUTES_EVERY: Duration = Duration::from_hours(1);

/// Opens the lake with the connections that it needs.
pub(crate) type OpenLake = dyn Fn(&[Connection]) -> TaskResult<Lake> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) lake_connections: &'static [&'static str],
    pub(crate) open_lake: Arc<OpenLake>,
}

/// Streams of one bundle, by name.
pub(crate) struct Declared {
    pub(crate) streams: HashMap<String, Arc<Stream>>,
    offered: Vec<NewStream>,
    /// The streams in `offered` whose partitions are divided among processes.
    shared: Vec<NewStream>,
    /// Registered streams that this process cannot run but other processes can.
    kept: Vec<NewStream>,
    means: Means,
}

impl Declared {
    pub(crate) fn new(streams: Vec<Stream>, means: Means) -> Declared {
        let offered = streams.iter().map(Stream::registered).collect();
        let shared = streams.iter().filter(|stream| stream.shares > 1).map(Stream::registered).collect();
        let streams = streams.into_iter().map(|stream| (stream.name.clone(), Arc::new(stream))).collect();
        Declared { streams, offered, shared, kept: Vec::new(), means }
    }

    /// Keeps the registration of streams that this process cannot run.
    pub(crate) fn keeping(self, kept: Vec<NewStream>) -> Declared {
        Declared { kept, ..self }
    }

    pub(crate) fn registered(&self) -> Vec<NewStream> {
        self.offered.iter().chain(&self.kept).cloned().collect()
    }

    fn version_of(&self, name: &str) -> Option<&str> {
        self.offered.iter().find(|stream| stream.name == name).map(|stream| stream.version.as_str())
    }
}

/// Runs the declared streams until the host stops. Streams whose declaration changes are restarted.
///
/// # Errors
/// Returns an error if the schema of the database does not match this binary.
pub(crate) async fn host(
    host: StreamHost,
    declared: watch::Receiver<Arc<Declared>>,
    ends: LogEnds,
    mut aborted: watch::Receiver<Option<KafkaAbort>>,
) -> StoreResult<()> {
    let process = format!("{}:{}", host.name, Uuid::new_v4().simple());
    let (streams, shares) = (Works::default(), Works::default());
    let mut party = Party { host: host.clone(), declared, process, ends, streams, shares, session: None };
    let done = tokio::select! {
        done = party.beat_on() => done,
        () = host.stop.cancelled() => Ok(()),
        Ok(_) = aborted.wait_for(Option::is_some) => Ok(()),
    };
    party.streams.end().await;
    party.shares.end().await;
    let abort = aborted.borrow().clone();
    if let Some(abort) = abort {
        party.fail_streams_of(&abort).await;
    }
    if let Err(error) = party.release().await {
        tracing::debug!(%error, "streams were not given back: others take them when the lease is over");
    }
    done
}

struct Party {
    host: StreamHost,
    declared: watch::Receiver<Arc<Declared>>,
    process: String,
    ends: LogEnds,
    streams: Works<Lease>,
    shares: Works<ShareLease>,
    /// Connection for heartbeats, which are the only queries of an idle process. It is detached from the pool, because
    /// a pool sends an extra query whenever a connection is returned.
    session: Option<PgConnection>,
}

impl Party {
    async fn beat_on(&mut self) -> StoreResult<()> {
        let mut is_registered = false;
        let mut cleaned: Option<Instant> = None;
        loop {
            let hints = self.host.hints.clone();
            let steered = hints.on(Hint::Stream).notified();
            let beaten = async {
                if !is_registered {
                    self.register().await?;
                }
                self.beat().await
            };
            match beaten.await {
                Ok(()) => is_registered = true,
                Err(error @ StoreError::Schema { .. }) => return Err(error),
                Err(error) => tracing::warn!(%error, "streams were not renewed; it is tried again"),
            }
            if cleaned.is_none_or(|at| at.elapsed() >= OLD_MINUTES_EVERY) {
                cleaned = Some(Instant::now());
                if let Err(error) = self.clean().await {
                    tracing::debug!(%error, "old minutes of streams stay for now");
                }
            }
            let next = tokio::time::sleep(self.host.lease / BEATS);
            tokio::select! {
                () = steered => {}
                () = next => {}
                Ok(()) = self.declared.changed() => is_registered = false,
                () = self.streams.ended() => {}
                () = self.shares.ended() => {}
            }
        }
    }

    async fn register(&self) -> StoreResult<()> {
        let mut db = self.host.pool.acquire().await?;
        let (host, declared) = (&self.host, self.declared.borrow().clone());
        register_streams(&mut db, &host.bundle, &declared.registered(), host.paused_at_creation).await
    }

    async fn clean(&self) -> StoreResult<()> {
        drop_old_minutes(&mut *self.host.pool.acquire().await?).await.map(drop)
    }

    async fn release(&self) -> StoreResult<()> {
        release_streams(&mut *self.host.pool.acquire().await?, &self.process).await
    }

    /// Fails the streams of this process that use the connection. If librdkafka aborts repeatedly, also fails the
    /// streams of other processes that use it.
    async fn fail_streams_of(&self, abort: &KafkaAbort) {
        let declared = self.declared.borrow().clone();
        let shares = self.shares.leases().into_iter().map(|lease| lease.stream);
        let held: HashMap<String, Lease> =
            self.streams.leases().into_iter().chain(shares).map(|lease| (lease.name.clone(), lease)).collect();
        for (name, stream) in declared.streams.iter().filter(|(_, stream)| stream.connection == abort.connection) {
            let lease = match held.get(name) {
                Some(lease) => Some(lease.clone()),
                None if abort.is_repeated() => self.current_lease(name).await,
                None => None,
            };
            if let Some(lease) = lease {
                record_failure(&self.host, stream, &lease, abort.error(name)).await;
            }
        }
    }

    /// Returns the current lease of a stream. `None` if the stream is paused or waits for its restart.
    async fn current_lease(&self, name: &str) -> Option<Lease> {
        let found = async { get_stream(&mut *self.host.pool.acquire().await?, name).await };
        let row = found.await.ok()??;
        (!row.is_paused && !row.waits_for_restart).then_some(Lease { name: row.name, epoch: row.epoch })
    }

    /// Returns the heartbeat connection, or opens a new one if it is closed. A connection that failed is dropped.
    async fn session(&mut self) -> StoreResult<PgConnection> {
        if let Some(mut db) = self.session.take()
            && db.ping().await.is_ok()
        {
            return Ok(db);
        }
        Ok(self.host.pool.acquire().await?.detach())
    }

    async fn beat(&mut self) -> StoreResult<()> {
        let mut db = self.session().await?;
        self.beat_by(&mut db).await?;
        self.session = Some(db);
        Ok(())
    }

    async fn beat_by(&mut self, db: &mut PgConnection) -> StoreResult<()> {
        let declared = self.declared.borrow().clone();
        // Stop streams whose declaration has changed. The heartbeat below leases them again with the new declaration.
        self.streams.keep(|lease, version| declared.version_of(&lease.name) == Some(version));
        let held = self.streams.leases();
        let said = Beat {
            bundle: &self.host.bundle,
            process: &self.process,
            offered: &declared.offered,
            held: &held,
            room: i64::try_from(MOST.saturating_sub(held.len())).unwrap_or(0),
            lease: self.host.lease,
        };
        let beaten = beat(db, &said).await?;
        self.streams.keep(|lease, _| beaten.kept.contains(lease));
        for lease in beaten.taken {
            self.start(lease, &declared);
        }
        self.shares.keep(|lease, version| declared.version_of(&lease.stream.name) == Some(version));
        let held = self.shares.leases();
        if declared.shared.is_empty() && held.is_empty() {
            return Ok(());
        }
        let said = ShareBeat {
            bundle: &self.host.bundle,
            process: &self.process,
            offered: &declared.shared,
            held: &held,
            lease: self.host.lease,
        };
        let beaten = beat_shares(db, &said).await?;
        self.shares.keep(|lease, _| beaten.kept.contains(lease));
        for lease in beaten.taken {
            self.start_share(lease, &declared);
        }
        Ok(())
    }

    fn start(&mut self, lease: Lease, declared: &Declared) {
        let Some(stream) = declared.streams.get(&lease.name).cloned() else { return };
        let version = declared.version_of(&lease.name).unwrap_or_default().to_owned();
        tracing::info!(stream = lease.name, epoch = lease.epoch, topic = stream.topic, "a stream begins");
        let (host, means, ends) = (self.host.clone(), declared.means.clone(), self.ends.clone());
        let (told, mine, failed) = (host.clone(), lease.clone(), stream.clone());
        let of_work = lease.clone();
        let work = async move {
            if let Some(captured) = stream.capture.clone() {
                let source = (host.find)(&captured.connection).await?;
                let topics = (host.find)(&stream.connection).await?;
                let target = capture::Target::open(host.pool.clone(), of_work, host.hints.clone(), &topics).await?;
                return capture::run_capture(stream, captured, source, target).await;
            }
            let Opened { target, reader } = open(&host, &means, &ends, &stream, of_work).await?;
            if stream.shares > 1 {
                return shares::lead(stream, target, reader).await;
            }
            run::run_stream(stream, target, reader).await
        };
        let report = move |error| async move { record_failure(&told, &failed, &mine, error).await };
        self.streams.start(lease, version, work, report);
    }

    fn start_share(&mut self, lease: ShareLease, declared: &Declared) {
        let Some(stream) = declared.streams.get(&lease.stream.name).cloned() else { return };
        let version = declared.version_of(&lease.stream.name).unwrap_or_default().to_owned();
        tracing::info!(stream = lease.stream.name, epoch = lease.stream.epoch, share = lease.share, "a share begins");
        let (host, means, ends) = (self.host.clone(), declared.means.clone(), self.ends.clone());
        let (told, mine, failed) = (host.clone(), lease.stream.clone(), stream.clone());
        let of_work = lease.clone();
        let work = async move {
            let Opened { target, reader } = open(&host, &means, &ends, &stream, of_work.stream.clone()).await?;
            shares::read(stream, target, reader, of_work).await
        };
        // If reading one group of partitions fails, the stream fails. Its restart opens all groups again.
        let report = move |error| async move { record_failure(&told, &failed, &mine, error).await };
        self.shares.start(lease, version, work, report);
    }
}

struct Opened {
    target: Target,
    reader: Box<dyn topic::TopicReader>,
}

async fn open(host: &StreamHost, means: &Means, ends: &LogEnds, stream: &Stream, lease: Lease) -> TaskResult<Opened> {
    // Creation time of the stream. It distinguishes the stream from a deleted stream with the same name, and from a
    // stream with the same name in another installation.
    let owner = async || {
        let left = left_behind(&mut *host.pool.acquire().await?, &lease).await?;
        TaskResult::Ok(left.created_at.to_rfc3339())
    };
    let to = match &stream.sink {
        Some(Sink::Lake(table)) => {
            let mut connections = Vec::new();
            for id in means.lake_connections {
                connections.push((host.find)(id).await?);
            }
            let lake = (means.open_lake)(&connections)?;
            let owned_by = if is_home(host, &lake).await? {
                None
            } else {
                check_elsewhere(stream)?;
                Some(owner().await?)
            };
            let snapshot = match &stream.snapshot {
                Some(from) => {
                    let connection = (host.find)(&from.connection).await?;
                    Some(Snapshot::of(from, connection, stream.json.schema.clone())?)
                }
                None => None,
            };
            To::Lake(Box::new(LakeTarget { lake, table: table.clone(), snapshot, owner: owned_by }))
        }
        Some(Sink::Postgres(table)) => {
            let connection = (host.find)(&table.connection).await?;
            To::Postgres(Box::new(PostgresTarget::new(&connection, table, &lease, &owner().await?)))
        }
        Some(Sink::Runs(runs)) => To::Runs(RunsTarget::new(runs)),
        None => return Err(fatal(format!("stream `{}` has no table", stream.name))),
    };
    let reader =
        topic::open(&(host.find)(&stream.connection).await?, &stream.topic, stream.partitions, &host.pool, ends)
            .await?;
    let target = Target { pool: host.pool.clone(), lease, hints: host.hints.clone(), to };
    Ok(Opened { target, reader })
}

/// Returns true if the lake's catalog is in orch's database, so that offsets and tables can change in one transaction.
async fn is_home(host: &StreamHost, lake: &Lake) -> TaskResult<bool> {
    let Some(catalog) = lake.catalog().postgres() else { return Ok(false) };
    let home = || async { TaskResult::Ok(identity(&mut *host.pool.acquire().await?).await?) };
    let before = home().await?;
    let there = identity(&mut *catalog.pool().acquire().await?).await?;
    // A restart between the two queries changes the identity of the same server. Fail, so that the next attempt queries
    // it again.
    anyhow::ensure!(home().await? == before, "the database was restarted");
    Ok(there == before)
}

fn check_elsewhere(stream: &Stream) -> TaskResult<()> {
    let what = if stream.shares > 1 {
        "is read by several processes"
    } else if stream.snapshot.is_some() {
        "copies a table"
    } else {
        return Ok(());
    };
    Err(fatal(format!(
        "stream `{}` {what}, and the catalog of its table is not in the database of orch\n\
         hint: put the catalog into the metadata database of orch, or declare the stream without that",
        stream.name
    )))
}

/// Records the failure of a stream and the time of its retry. Adds an alert if the stream keeps failing or is not
/// retried.
async fn record_failure(host: &StreamHost, stream: &Stream, lease: &Lease, error: anyhow::Error) {
    if matches!(error.downcast_ref::<StoreError>(), Some(StoreError::FenceLost)) {
        tracing::info!(
            stream = lease.name,
            epoch = lease.epoch,
            "the stream was taken away; nothing of this was published"
        );
        return;
    }
    let records = error.downcast_ref::<NotPublished>().map(NotPublished::records).unwrap_or_default();
    let error = TaskError::from(error);
    let text = (host.mask)(&error.to_string());
    let told = async {
        let mut db = host.pool.acquire().await?;
        let failures = failures_of(&mut db, &lease.name).await?;
        let again = (!matches!(error, TaskError::Fatal { .. })).then(|| pause(failures));
        let stopped = StoppedStream {
            name: lease.name.clone(),
            topic: stream.topic.clone(),
            records,
            failures: failures + 1,
            waits_for_restart: again.is_none(),
        };
        let is_alert = again.is_none() || stopped.failures == FAILURES_OF_ALERT;
        let mut tx = db.begin().await?;
        fail_stream(&mut tx, lease, &text, again).await?;
        tracing::error!(stream = lease.name, error = text, ?again, "the stream failed");
        if is_alert {
            alert_of_stopped_stream(&mut tx, &stream.on_failure, &stopped, lease.epoch, &text).await?;
        }
        tx.commit().await?;
        if is_alert && !stream.on_failure.is_empty() {
            host.hints.give(Hint::Alert);
        }
        StoreResult::Ok(())
    };
    match told.await {
        Ok(()) => {}
        // The new holder of the lease ends the transactions and sessions of the previous holder.
        Err(StoreError::FenceLost) => {
            tracing::info!(stream = lease.name, epoch = lease.epoch, error = text, "the stream was taken away");
        }
        // If the database does not respond, the lease expires and another process takes over the stream.
        Err(unrecorded) => {
            tracing::error!(stream = lease.name, error = text, %unrecorded, "the stream failed, and this is not recorded");
        }
    }
}

/// Returns the delay before the next attempt: 1 second, doubled after each failure, at most 5 minutes.
fn pause(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_keeps_failing_is_tried_less_and_less_often() {
        assert_eq!([0, 1, 3].map(pause).map(|pause| pause.as_secs()), [1, 2, 8]);
        assert_eq!(pause(1_000), LONGEST_RETRY);
    }
}
