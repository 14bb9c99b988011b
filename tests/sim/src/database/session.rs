//! A connection of a client: it sends statements and receives responses while the network works.

use super::locks::Lock;
use super::transaction::Transaction;
use super::{Database, Snapshot, State, pause, try_again, unreachable};
use crate::faults::{Fate, Lost};
use orch_store::StoreResult;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// A peer that does not respond is given up after this time (`store::connect`: `tcp_user_timeout`).
const DEAD_PEER: Duration = Duration::from_secs(15);

/// A database connection of one client.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) db: Arc<Database>,
    /// Name of the client in the trace.
    pub(crate) who: Arc<str>,
    /// The node of the client. Schedulers have none and are never cut off.
    pub(crate) node: Option<usize>,
    /// True for the heartbeat connection, which can break on its own.
    pub(crate) pulse: bool,
    /// Statements that the server still executes for this connection.
    pub(crate) under_way: Arc<UnderWay>,
}

impl Session {
    /// Sends one statement and returns its response.
    pub(crate) async fn statement<T: Send + 'static>(
        &self,
        locks: Vec<Lock>,
        apply: impl FnOnce(&mut State, Snapshot) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.statement_with(locks, |_, _| ((), Vec::new()), |s, seen, ()| apply(s, seen)).await
    }

    /// Like `statement`, but `pick` also takes rows that are not locked.
    pub(crate) async fn statement_with<P: Send + 'static, T: Send + 'static>(
        &self,
        locks: Vec<Lock>,
        pick: impl FnOnce(&mut State, Snapshot) -> (P, Vec<Lock>) + Send + 'static,
        apply: impl FnOnce(&mut State, Snapshot, P) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (fate, there, back) = self.db.with(|s| s.fate(self, true));
        let db = self.db.clone();
        self.call((fate, there, back), || {}, async move { db.execute(locks, pick, apply).await }).await
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        (fate, there, back): (Fate, Duration, Duration),
        sent: impl FnOnce(),
        work: impl Future<Output = StoreResult<T>> + Send + 'static,
    ) -> StoreResult<T> {
        if matches!(fate, Fate::Refused | Fate::Again) {
            pause(there).await;
            return Err(if fate == Fate::Again { try_again() } else { unreachable() });
        }
        let given_up = Instant::now() + DEAD_PEER;
        if fate == Fate::Hung(Lost::Words) && !self.until_whole(given_up).await {
            return Err(unreachable());
        }
        let (tell, told) = oneshot::channel();
        let lag = if fate == Fate::Late { there + self.db.with(|s| s.rng.millis(50, 4_000)) } else { there };
        sent();
        let asking = (fate == Fate::Hung(Lost::Question)).then(|| self.clone());
        let under_way = Doing::begin(&self.under_way);
        self.db.serve(async move {
            if let Some(session) = asking
                && !session.until_whole(given_up).await
            {
                return;
            }
            pause(lag).await;
            let answer = work.await;
            drop(under_way);
            drop(tell.send(answer));
        });
        match fate {
            Fate::Late => {
                pause(back).await;
                Err(unreachable())
            }
            Fate::Unheard => {
                drop(told.await);
                pause(back).await;
                Err(unreachable())
            }
            Fate::Hung(Lost::Answer) if !self.until_whole(given_up).await => Err(unreachable()),
            _ => {
                let answer = told.await.unwrap_or_else(|_| Err(unreachable()));
                pause(back).await;
                answer
            }
        }
    }

    /// Waits until the network works again. Returns false if the peer was given up first.
    async fn until_whole(&self, given_up: Instant) -> bool {
        loop {
            let freed = self.db.freed.notified();
            let cut = self.db.with(|s| self.node.is_some_and(|node| s.faults.is_cut(node, self.pulse)));
            if !cut || Instant::now() >= given_up {
                return !cut;
            }
            tokio::select! { biased; () = freed => {}, () = tokio::time::sleep_until(given_up) => {} }
        }
    }

    /// Waits until the server has finished all statements of this connection.
    pub(crate) async fn renewed(&self) {
        loop {
            let none = self.under_way.none.notified();
            if self.under_way.many.load(Ordering::Relaxed) == 0 {
                return;
            }
            none.await;
        }
    }

    /// Starts a transaction of several statements.
    pub(crate) fn begin(&self) -> Transaction {
        let seen = self.db.with(State::open);
        Transaction::new(self.clone(), seen)
    }
}

/// Statements that the server still executes for a connection.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    many: AtomicUsize,
    none: Notify,
}

/// Guard of one such statement.
struct Doing(Arc<UnderWay>);

impl Doing {
    fn begin(all: &Arc<UnderWay>) -> Doing {
        all.many.fetch_add(1, Ordering::Relaxed);
        Doing(all.clone())
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        if self.0.many.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
