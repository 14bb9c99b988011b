//! The database, played: rows, row locks, statements and transactions that take their time, and calls that go wrong.
//!
//! As weak as Postgres at READ COMMITTED, not an atomic toy: each statement of a transaction sees what was committed
//! when it began, waits for locks, then looks again. What a statement writes becomes visible at its commit. A statement
//! that has reached the server is carried out, whatever becomes of its client meanwhile.

mod claim;
pub(crate) mod locks;
mod runs;
mod step;
pub(crate) mod tables;
pub(crate) mod users;
pub(crate) mod workers;

use crate::check::Books;
use crate::faults::{Fate, Faults, Lost, Mutant};
use crate::rng::Rng;
use crate::script::Script;
use crate::trace::Trace;
use locks::{Lock, Locks, Taken};
use orch_store::connect::STATEMENT_TIMEOUT;
use orch_store::{StoreError, StoreResult};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tables::Tables;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A peer that answers nothing is given up after so long (`store::connect`: `tcp_user_timeout`).
const DEAD_PEER: Duration = Duration::from_secs(15);

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
    pub(crate) under_way: Arc<AtomicUsize>,
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
        while server.try_join_next().is_some() {}
        server.spawn(work);
    }

    /// Waits for a row's lock.
    async fn lock(&self, txn: u64, lock: &Lock, deadline: Instant) -> StoreResult<()> {
        loop {
            let freed = self.freed.notified();
            let look = match self.with(|s| s.locks.take(txn, lock, Instant::now())) {
                Taken::Yes => return Ok(()),
                Taken::Busy(evict_at) => evict_at.map_or(deadline, |at| at.min(deadline)),
                Taken::Deadlock { expected } => {
                    if !expected {
                        self.with(|s| s.books.fail(format!("deadlock at {lock:?}")));
                    }
                    return Err(try_again());
                }
                Taken::Gone => return Err(unreachable()),
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

    async fn call<T: Send + 'static>(
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
        let under_way = UnderWay::new(&self.under_way);
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
        while self.under_way.load(Ordering::Relaxed) > 0 {
            pause(Duration::from_millis(1)).await;
        }
    }

    /// Begins a transaction of several statements.
    pub(crate) fn begin(&self) -> Transaction {
        let seen = self.db.with(State::open);
        Transaction { session: self.clone(), txn: seen.txn, now: seen.now, over: false }
    }
}

/// One more thing that the server does for a connection.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(many: &Arc<AtomicUsize>) -> UnderWay {
        many.fetch_add(1, Ordering::Relaxed);
        UnderWay(many.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Several statements, one commit. Writes are made at the commit, under the locks taken before; dropped, it is rolled back.
pub(crate) struct Transaction {
    session: Session,
    txn: u64,
    now: Instant,
    over: bool,
}

impl Transaction {
    /// One statement that only looks.
    pub(crate) async fn read<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&mut State, Snapshot) -> T + Send + 'static,
    ) -> StoreResult<T> {
        self.lock(|_, _| (Vec::new(), ()), |s, seen, ()| look(s, seen)).await
    }

    /// Now and then whoever is in the midst of it stands still.
    async fn stumble(&self) {
        self.pause_at(1).await;
    }

    /// At a place where it matters more: so many times as often.
    pub(crate) async fn pause_at(&self, times: u32) {
        let time = self.session.db.with(|s| {
            let often = s.faults.stumbles * times;
            if s.rng.chance(often) { s.rng.millis(5, 1_500) } else { Duration::ZERO }
        });
        pause(time).await;
    }

    /// One statement that locks rows: finds them in what is committed when it begins, and reads them when it has them all.
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

    /// Writes and ends.
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
        // Once it is sent, the server carries it out; until then the client's end ends the transaction.
        let over = &mut self.over;
        session.call((fate, there, back), || *over = true, work).await
    }
}

/// Ends a transaction with the statement that was to end it, though that never arrives.
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
