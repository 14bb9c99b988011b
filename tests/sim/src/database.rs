//! The database, played: rows, row locks, statements and transactions that take their time, and calls that go wrong.
//!
//! As weak as Postgres at READ COMMITTED, not an atomic toy: each statement of a transaction sees what was committed
//! when it began, waits for locks, then looks again. What a statement writes becomes visible at its commit. A statement
//! that has reached the server is carried out, whatever becomes of its client meanwhile.

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
    /// A lock was freed, a network was mended.
    freed: Notify,
    /// Instances are just being taken from somebody who is lost.
    pub(crate) taking: Notify,
    server: Mutex<JoinSet<()>>,
}

/// What a statement knows when it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) commits: u64,
    /// `now()`: when its transaction began.
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
        // A check that panicked has said why; what others still have to say must not hide it.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn session(self: &Arc<Self>, who: String, node: Option<usize>) -> Session {
        Session { db: self.clone(), who: who.into(), node, pulse: false, under_way: Arc::default() }
    }

    /// Faults have changed: whoever hangs looks again.
    pub(crate) fn mended(&self) {
        self.freed.notify_waiters();
    }

    /// Ends what the server still does.
    pub(crate) fn shut_down(&self) {
        self.server.lock().expect("nothing panics while holding it").abort_all();
    }

    /// Done by the server, whatever becomes of the client.
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

    /// Waits for a row's lock.
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

    /// A statement that is a transaction by itself. It takes `locks`, then what `pick` finds and locks without waiting;
    /// `pick` says what to wait for besides.
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
        // Its writes are there and nobody sees them, until the disk has them.
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

    /// All of them, or the transaction ends.
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
        // Mostly quick, sometimes as slow as can be.
        let delay = |rng: &mut Rng| {
            let most = if rng.chance(100) { slowest } else { slowest.min(3) };
            rng.millis(0, most)
        };
        (fate, delay(&mut self.rng), delay(&mut self.rng))
    }

    /// How long a commit takes: now and then a disk is slow.
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

    /// A line of the trace.
    pub(crate) fn say(&mut self, who: &str, what: std::fmt::Arguments<'_>) {
        self.trace.say(format_args!("{who:<4} {what}"));
    }
}

/// Sleeps, unless there is nothing to sleep for.
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
