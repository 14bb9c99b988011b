//! Hints: "look now" instead of "look in a while". Never the truth, never needed. One kind is sent inside a hot
//! transaction, at most once in [`RECORDED_EVERY`] for each worker: `Recorded`.
//!
//! Within a process a hint is a `Notify`. Between processes it is a NOTIFY on a connection of its own, at most one each
//! few milliseconds however often it is given: NOTIFY takes a cluster-wide lock at commit.

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
/// The name of a process that tells and does not listen.
pub(crate) const ANONYMOUS: &str = "-";
/// Hints of this long are sent as one.
const GATHER: Duration = Duration::from_millis(5);
/// A listening session that a broken network cuts hears nothing for ever: it must ask whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const RECONNECT: Duration = Duration::from_millis(500);

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Hint {
    /// Something can be claimed.
    Ready = 1,
    /// Something waits for its time, or a run for its place: schedulers look at what is due.
    Due = 2,
    /// A run changed its state.
    Run = 4,
    /// Somebody must stop what it runs.
    Stop = 8,
    /// An asset was updated: schedulers look whom it concerns.
    Asset = 16,
    /// A task waits for a condition: workers look at it.
    Watch = 32,
    /// Somebody is to be told: whoever sends alerts looks.
    Alert = 64,
    /// Records were appended to a topic.
    Topic = 128,
    /// A person steered a stream, or its shares are open: processes that run streams look at what they may run.
    Stream = 256,
    /// A share of a stream has written files, or some were published: the other side looks.
    Lot = 512,
    /// An outcome was recorded and is not yet folded. The recording statement sends this hint, so that schedulers fold the outcome even
    /// if its worker dies right after the commit.
    Recorded = 1024,
}

/// A connection sends `Recorded` at most once in this time: NOTIFY takes a cluster-wide lock at commit. Must be shorter than the
/// scheduler's `fold_after`: the look that follows a hint then finds all outcomes that were recorded without one.
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

/// Gives and takes hints. Cheap to clone; one for each process.
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
    /// Given here and not yet told to other processes: bits of `Hint`.
    untold: AtomicU16,
    tell: Notify,
}

impl Hints {
    pub fn new() -> Hints {
        Hints::default()
    }

    /// Where to wait for a hint: make the future, look, then await it.
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

    /// Wakes whoever waits for it, here at once and elsewhere soon.
    pub fn give(&self, hint: Hint) {
        self.on(hint).notify_waiters();
        if self.inner.untold.fetch_or(hint as u16, Ordering::AcqRel) & hint as u16 == 0 {
            self.inner.tell.notify_one();
        }
    }

    fn wake(&self, bits: u16) {
        ALL.into_iter().filter(|hint| bits & *hint as u16 != 0).for_each(|hint| self.on(hint).notify_waiters());
    }

    /// Carries hints between this process and the others until `stop`. Without it hints stay at home.
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
        self.wake(u16::MAX); // whatever was told while nobody listened
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
                        Err(_) => return Ok(()), // half open
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
                // They look by themselves in a while.
                tracing::debug!(%error, "other processes were not told");
            }
        }
    }

    /// Tells other processes what was given here: for a process that is gone in a moment and carries no hints.
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
