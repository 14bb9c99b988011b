//! Hints are wake-up signals that make a process poll now instead of later. They are only an optimization and may be
//! lost. `Recorded` is the only hint sent inside a transaction of the hot path, at most once in [`RECORDED_EVERY`] per
//! worker.
//!
//! Within a process a hint is a `Notify`. Between processes it is a NOTIFY on a separate connection, at most one every
//! few milliseconds however often it is sent: NOTIFY takes a cluster-wide lock at commit.

use crate::{StoreResult, boxed, connect};
use sqlx::postgres::PgListener;
use sqlx::{PgConnection, PgExecutor, PgPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const CHANNEL: &str = "orch";
/// Sender name of a process that sends hints and does not receive any.
pub(crate) const ANONYMOUS: &str = "-";
/// Hints that are sent within this time share one NOTIFY.
const GATHER: Duration = Duration::from_millis(5);
/// Interval of pings on the listening session. Without them, it would wait forever behind a broken network.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT: Duration = Duration::from_millis(500);

/// The change that a hint reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Hint {
    /// An attempt can be claimed.
    Ready = 1,
    /// An attempt waits for a time, or a run waits for a free slot. Schedulers check what is due.
    Due = 2,
    /// The state of a run changed.
    Run = 4,
    /// A worker must stop an attempt.
    Stop = 8,
    /// An asset was updated. Schedulers check which DAGs depend on it.
    Asset = 16,
    /// A task waits for a condition. Workers evaluate it.
    Watch = 32,
    /// An alert must be sent.
    Alert = 64,
    /// Records were appended to a topic.
    Topic = 128,
    /// A user changed a stream, or the shares of a stream (groups of partitions, each read by one process) were opened.
    /// Processes that run streams check what they may run.
    Stream = 256,
    /// Files of a stream were written, and the leader of the stream must publish them. Or the leader has published
    /// files, and the processes that wrote them may continue.
    Lot = 512,
    /// An outcome was recorded and is not yet folded. The recording statement sends this hint, so that schedulers fold
    /// the outcome even if its worker dies right after the commit.
    Recorded = 1024,
}

/// A connection sends `Recorded` at most once in this time: NOTIFY takes a cluster-wide lock at commit. Must be shorter
/// than the scheduler's `fold_after`: the poll that follows a hint then finds all outcomes recorded without one.
pub(crate) const RECORDED_EVERY: Duration = Duration::from_millis(200);

const ALL: [Hint; 11] = [
    Hint::Ready,
    Hint::Due,
    Hint::Run,
    Hint::Stop,
    Hint::Asset,
    Hint::Watch,
    Hint::Alert,
    Hint::Topic,
    Hint::Stream,
    Hint::Lot,
    Hint::Recorded,
];

/// Sends and receives hints. Cheap to clone; one for each process.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ready: Notify,
    due: Notify,
    run: Notify,
    stop: Notify,
    asset: Notify,
    watch: Notify,
    alert: Notify,
    topic: Notify,
    stream: Notify,
    lot: Notify,
    recorded: Notify,
    /// Hints of this process that were not sent to other processes yet, as bits of `Hint`.
    untold: AtomicU16,
    tell: Notify,
}

impl Hints {
    pub fn new() -> Hints {
        Hints::default()
    }

    /// Returns the signal to wait for. To miss no hint, create its future first, then check the data, then await the
    /// future.
    pub fn on(&self, hint: Hint) -> &Notify {
        match hint {
            Hint::Ready => &self.inner.ready,
            Hint::Due => &self.inner.due,
            Hint::Run => &self.inner.run,
            Hint::Stop => &self.inner.stop,
            Hint::Asset => &self.inner.asset,
            Hint::Watch => &self.inner.watch,
            Hint::Alert => &self.inner.alert,
            Hint::Topic => &self.inner.topic,
            Hint::Stream => &self.inner.stream,
            Hint::Lot => &self.inner.lot,
            Hint::Recorded => &self.inner.recorded,
        }
    }

    /// Wakes the waiters of a hint, in this process immediately and in other processes within milliseconds.
    pub fn give(&self, hint: Hint) {
        self.on(hint).notify_waiters();
        if self.inner.untold.fetch_or(hint as u16, Ordering::AcqRel) & hint as u16 == 0 {
            self.inner.tell.notify_one();
        }
    }

    fn wake(&self, bits: u16) {
        ALL.into_iter().filter(|hint| bits & *hint as u16 != 0).for_each(|hint| self.on(hint).notify_waiters());
    }

    /// Exchanges hints with other processes until `stop` is cancelled. While this does not run, hints stay in this
    /// process.
    #[boxed]
    pub async fn carry(&self, url: &str, cold: &PgPool, stop: CancellationToken) -> StoreResult<()> {
        let me = Uuid::new_v4().simple().to_string();
        let listening = connect::pool(url, "orch hints", 1)?;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen(&listening, &me) => {}
            () = self.tell(cold, &me) => {}
        }
        listening.close().await;
        Ok(())
    }

    async fn listen(&self, pool: &PgPool, me: &str) {
        loop {
            if let Err(error) = self.listen_once(pool, me).await {
                tracing::debug!(%error, "hints of other processes are not heard for a moment");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn listen_once(&self, pool: &PgPool, me: &str) -> StoreResult<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await?;
        self.wake(u16::MAX); // covers hints that were sent before this session listened
        loop {
            match tokio::time::timeout(PING_EVERY, listener.try_recv()).await {
                Ok(Ok(Some(told))) => {
                    if let Some((from, bits)) = told.payload().split_once(' ')
                        && from != me
                    {
                        self.wake(bits.parse().unwrap_or(u16::MAX));
                    }
                }
                Ok(Ok(None)) => return Ok(()), // the connection was lost
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    let ping = sqlx::query("select 1").execute(&mut listener);
                    match tokio::time::timeout(PING_TIMEOUT, ping).await {
                        Ok(done) => {
                            done?;
                        }
                        Err(_) => return Ok(()), // half-open connection: the ping got no response
                    }
                }
            }
        }
    }

    async fn tell(&self, cold: &PgPool, me: &str) {
        loop {
            self.inner.tell.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.tell_as(cold, me).await {
                // Other processes poll by themselves after a while.
                tracing::debug!(%error, "other processes were not told");
            }
        }
    }

    /// Sends the pending hints of this process to other processes immediately. Meant for a process that ends soon and
    /// does not run `carry`.
    #[boxed]
    pub async fn tell_now(&self, db: &mut PgConnection) -> StoreResult<()> {
        self.tell_as(db, ANONYMOUS).await
    }

    async fn tell_as(&self, db: impl PgExecutor<'_>, me: &str) -> StoreResult<()> {
        let bits = self.inner.untold.swap(0, Ordering::AcqRel);
        if bits != 0 {
            sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(format!("{me} {bits}")).execute(db).await?;
        }
        Ok(())
    }
}
