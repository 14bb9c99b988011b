//! A simulated database: rows, row locks, statements and transactions that take time, and calls that fail.
//!
//! It gives only the guarantees of Postgres at READ COMMITTED: each statement of a transaction sees what was
//! committed when the statement began, waits for locks, then reads the locked rows again. Writes become visible at
//! commit. A statement that has reached the server is executed even if its client is gone.

pub(crate) mod admission;
mod claim;
mod domains;
pub(crate) mod locks;
mod runs;
mod session;
mod step;
pub(crate) mod tables;
mod transaction;
pub(crate) mod users;
pub(crate) mod workers;

pub(crate) use session::Session;
pub(crate) use transaction::Transaction;

use crate::check::Books;
use crate::faults::{Fate, Faults, Lost, Mutant};
use crate::rng::Rng;
use crate::script::Script;
use crate::trace::Trace;
use locks::{Lock, LockOutcome, Locks};
use orch_store::connect::STATEMENT_TIMEOUT;
use orch_store::{StoreError, StoreResult};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tables::Tables;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) struct State {
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) trace: Trace,
    pub(crate) tables: Tables,
    pub(crate) books: Books,
    script: Script,
    locks: Locks,
    commits: u64,
}

pub(crate) struct Database {
    state: Mutex<State>,
    /// Notified when a lock is released or a network is repaired.
    freed: Notify,
    /// Notified while instances are being taken from a lost worker.
    pub(crate) taking: Notify,
    server: Mutex<JoinSet<()>>,
}

/// The view of the data that a statement has when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) commits: u64,
    /// `now()`: the start time of the transaction.
    pub(crate) now: Instant,
    pub(crate) txn: u64,
}

impl Database {
    pub(crate) fn new(rng: Rng, faults: Faults, mutant: Option<Mutant>, trace: Trace, script: Script) -> Arc<Database> {
        let state = State {
            rng,
            faults,
            mutant,
            trace,
            tables: Tables::default(),
            books: Books::new(),
            script,
            locks: Locks::default(),
            commits: 0,
        };
        Arc::new(Database {
            state: Mutex::new(state),
            freed: Notify::new(),
            taking: Notify::new(),
            server: Mutex::default(),
        })
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A check that panicked has already reported its failure. Ignoring the poison keeps the other reports
        // visible.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn session(self: &Arc<Self>, who: String, node: Option<usize>) -> Session {
        Session { db: self.clone(), who: who.into(), node, pulse: false, under_way: Arc::default() }
    }

    /// Wakes all calls that hang, because the faults have changed.
    pub(crate) fn mended(&self) {
        self.freed.notify_waiters();
    }

    /// Aborts all statements that the server still executes.
    pub(crate) fn shut_down(&self) {
        self.server.lock().expect("nothing panics while holding it").abort_all();
    }

    /// Runs the work on the server, even if the client disappears.
    fn serve(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut server = self.server.lock().expect("nothing panics while holding it");
        while let Some(done) = server.try_join_next() {
            if let Err(error) = done
                && error.is_panic()
            {
                self.with(|s| s.books.fail(format!("the server panicked: {error}")));
            }
        }
        server.spawn(work);
    }

    /// Waits for the lock of a row.
    async fn lock(&self, txn: u64, lock: &Lock, deadline: Instant) -> StoreResult<()> {
        loop {
            let freed = self.freed.notified();
            let look = match self.with(|s| s.locks.take(txn, lock, Instant::now())) {
                LockOutcome::Yes => return Ok(()),
                LockOutcome::Busy(evict_at) => evict_at.map_or(deadline, |at| at.min(deadline)),
                LockOutcome::Deadlock { expected } => {
                    if !expected {
                        self.with(|s| s.books.fail(format!("deadlock at {lock:?}")));
                    }
                    return Err(try_again());
                }
                LockOutcome::Gone => return Err(unreachable()),
            };
            if Instant::now() >= deadline {
                return Err(timed_out());
            }
            tokio::select! { biased; () = freed => {}, () = tokio::time::sleep_until(look) => {} }
        }
    }

    fn close(&self, txn: u64) {
        if self.with(|s| s.locks.close(txn)) {
            self.freed.notify_waiters();
        }
    }

    /// Executes a statement that is its own transaction. It takes `locks`, then the rows that `pick` finds and locks
    /// without waiting; `pick` also returns further locks to wait for.
    async fn execute<P, T>(
        &self,
        locks: Vec<Lock>,
        pick: impl FnOnce(&mut State, Snapshot) -> (P, Vec<Lock>),
        apply: impl FnOnce(&mut State, Snapshot, P) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let seen = self.with(State::open);
        self.lock_all(seen, locks).await?;
        let (picked, more) = self.with(|s| pick(s, seen));
        self.lock_all(seen, more).await?;
        // The writes stay invisible until they are flushed to disk.
        let flush = self.with(|s| {
            s.locks.xid(seen.txn);
            s.flush()
        });
        pause(flush).await;
        let result = self.with(|s| {
            s.commits += 1;
            apply(s, seen, picked)
        });
        self.close(seen.txn);
        result
    }

    /// Takes all locks, or ends the transaction.
    async fn lock_all(&self, seen: Snapshot, locks: Vec<Lock>) -> StoreResult<()> {
        for lock in locks {
            if let Err(error) = self.lock(seen.txn, &lock, seen.now + STATEMENT_TIMEOUT).await {
                self.close(seen.txn);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl State {
    fn open(&mut self) -> Snapshot {
        let txn = self.locks.open();
        Snapshot { commits: self.commits, now: Instant::now(), txn }
    }

    fn fate(&mut self, session: &Session, may_again: bool) -> (Fate, Duration, Duration) {
        let f = &self.faults;
        let cut = session.node.is_some_and(|node| f.is_cut(node, session.pulse));
        let (slowest, dice) = (f.slowest.as_millis() as u64, self.rng.between(0, 999) as u32);
        let mut left = dice;
        let mut falls = |often: u32| {
            let hit = left < often;
            left = left.saturating_sub(often);
            hit
        };
        let severed = session.node.is_some_and(|node| f.severed.contains(&node));
        let fate = if severed {
            Fate::Hung(Lost::Words)
        } else if cut {
            Fate::Hung([Lost::Words, Lost::Question, Lost::Answer][dice as usize % 3])
        } else if falls(f.refused) {
            Fate::Refused
        } else if falls(f.again) && may_again {
            Fate::Again
        } else if falls(f.unheard) {
            Fate::Unheard
        } else if falls(f.late) {
            Fate::Late
        } else {
            Fate::Fine
        };
        // Delays are mostly short; one in ten can be as long as `slowest`.
        let delay = |rng: &mut Rng| {
            let most = if rng.chance(100) { slowest } else { slowest.min(3) };
            rng.millis(0, most)
        };
        (fate, delay(&mut self.rng), delay(&mut self.rng))
    }

    /// Returns the duration of a commit: 6 % of commits hit a slow disk.
    fn flush(&mut self) -> Duration {
        let slowest = if self.rng.chance(60) { self.faults.slowest.as_millis() as u64 } else { 2 };
        self.rng.millis(0, slowest)
    }

    pub(crate) fn script(&self) -> Script {
        self.script
    }

    pub(crate) fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Writes a line to the trace.
    pub(crate) fn say(&mut self, who: &str, what: std::fmt::Arguments<'_>) {
        self.trace.say(format_args!("{who:<4} {what}"));
    }
}

/// Sleeps, but does not yield if `time` is zero.
pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

pub(crate) fn unreachable() -> StoreError {
    StoreError::Unreachable(sqlx::Error::PoolClosed)
}

pub(crate) fn try_again() -> StoreError {
    StoreError::TryAgain(sqlx::Error::PoolTimedOut)
}

fn timed_out() -> StoreError {
    StoreError::Sql(sqlx::Error::PoolTimedOut)
}
