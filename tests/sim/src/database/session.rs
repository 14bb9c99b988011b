//! A connection of somebody: statements sent and heard, if the network allows.

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

/// A peer that answers nothing is given up after so long (`store::connect`: `tcp_user_timeout`).
const DEAD_PEER: Duration = Duration::from_secs(15);

/// A connection of somebody.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) db: Arc<Database>,
    /// For the trace.
    pub(crate) who: Arc<str>,
    /// The node it comes from; schedulers are not cut off.
    pub(crate) node: Option<usize>,
    /// Of the pulse, whose connection may break alone.
    pub(crate) pulse: bool,
    /// What the server still does for it.
    pub(crate) under_way: Arc<UnderWay>,
}

impl Session {
    /// Sends one statement and hears its answer, if the network allows.
    pub(crate) async fn statement<T: Send + 'static>(
        &self,
        locks: Vec<Lock>,
        apply: impl FnOnce(&mut State, Snapshot) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.statement_with(locks, |_, _| ((), Vec::new()), |s, seen, ()| apply(s, seen)).await
    }

    /// The same with rows that it takes if nobody else is taking them.
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

    /// Waits until the network carries again; `false`: the peer was given up before.
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

    /// Returns when nothing of what was said on this connection is under way any more.
    pub(crate) async fn renewed(&self) {
        loop {
            let none = self.under_way.none.notified();
            if self.under_way.many.load(Ordering::Relaxed) == 0 {
                return;
            }
            none.await;
        }
    }

    /// Begins a transaction of several statements.
    pub(crate) fn begin(&self) -> Transaction {
        let seen = self.db.with(State::open);
        Transaction::new(self.clone(), seen)
    }
}

/// What the server still does for a connection.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    many: AtomicUsize,
    none: Notify,
}

/// One thing of that.
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
