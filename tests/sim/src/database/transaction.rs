//! Transactions of several statements with one commit.

use super::locks::Lock;
use super::{Database, Session, Snapshot, State, pause, unreachable};
use orch_store::StoreResult;
use orch_store::connect::STATEMENT_TIMEOUT;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A transaction of several statements. It writes at the commit, under the locks taken before. Dropping it rolls it
/// back.
pub(crate) struct Transaction {
    session: Session,
    txn: u64,
    now: Instant,
    over: bool,
}

impl Transaction {
    pub(super) fn new(session: Session, seen: Snapshot) -> Transaction {
        Transaction { session, txn: seen.txn, now: seen.now, over: false }
    }

    /// Executes one statement that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&mut State, Snapshot) -> T + Send + 'static,
    ) -> StoreResult<T> {
        self.lock(|_, _| (Vec::new(), ()), |s, seen, ()| look(s, seen)).await
    }

    /// Sometimes pauses the client in the middle of its transaction.
    async fn stumble(&self) {
        self.pause_at(1).await;
    }

    /// Pauses the client `times` times as often as `stumble`, at points where a pause is more likely to reveal a
    /// race.
    pub(crate) async fn pause_at(&self, times: u32) {
        let time = self.session.db.with(|s| {
            let often = s.faults.stumbles * times;
            if s.rng.chance(often) { s.rng.millis(5, 1_500) } else { Duration::ZERO }
        });
        pause(time).await;
    }

    /// Executes one statement that locks rows: it finds them in the data committed when it begins, and reads them
    /// once it holds all locks.
    pub(crate) async fn lock<F: Send, T: Send + 'static>(
        &mut self,
        find: impl FnOnce(&mut State, Snapshot) -> (Vec<Lock>, F) + Send + 'static,
        read: impl FnOnce(&mut State, Snapshot, F) -> T + Send + 'static,
    ) -> StoreResult<T> {
        self.stumble().await;
        let (fate, there, back) = self.session.db.with(|s| s.fate(&self.session, true));
        let (db, txn, now) = (self.session.db.clone(), self.txn, self.now);
        let work = async move {
            let deadline = Instant::now() + STATEMENT_TIMEOUT;
            let (locks, found, seen) = db.with(|s| {
                s.locks.idle(txn, None);
                let seen = Snapshot { commits: s.commits, now, txn };
                let (locks, found) = find(s, seen);
                if !locks.is_empty() {
                    s.locks.xid(txn);
                }
                (locks, found, seen)
            });
            for lock in locks {
                db.lock(txn, &lock, deadline).await?;
            }
            db.with(|s| {
                if !s.locks.is_open(txn) {
                    return Err(unreachable());
                }
                s.locks.idle(txn, Some(Instant::now()));
                Ok(read(s, seen, found))
            })
        };
        self.session.call((fate, there, back), || {}, work).await
    }

    /// Writes and commits.
    pub(crate) async fn commit<T: Send + 'static>(
        mut self,
        apply: impl FnOnce(&mut State, Snapshot) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.stumble().await;
        let (fate, there, back) = self.session.db.with(|s| s.fate(&self.session, false));
        let (db, txn, now) = (self.session.db.clone(), self.txn, self.now);
        let ending = Ending { db: db.clone(), txn };
        let work = async move {
            let flush = db.with(|s| {
                s.locks.idle(txn, None);
                s.locks.xid(txn);
                s.flush()
            });
            pause(flush).await;
            let result = db.with(|s| {
                if !s.locks.is_open(txn) {
                    return Err(unreachable());
                }
                s.commits += 1;
                let seen = Snapshot { commits: s.commits, now, txn };
                apply(s, seen)
            });
            drop(ending);
            result
        };
        let session = self.session.clone();
        // Once the commit is sent, the server executes it. Before that, the transaction ends with its client.
        let over = &mut self.over;
        session.call((fate, there, back), || *over = true, work).await
    }
}

/// Ends a transaction when its commit is dropped, even if the commit never reaches the server.
struct Ending {
    db: Arc<Database>,
    txn: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.db.close(self.txn);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (db, txn) = (self.session.db.clone(), self.txn);
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let noticed = db.with(|s| s.rng.millis(0, 5));
        let server = db.clone();
        db.serve(async move {
            pause(noticed).await;
            server.close(txn);
        });
    }
}
