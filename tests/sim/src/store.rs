//! The store over the simulated database: the calls of `store::hot::PgHot`, of the worker's heartbeat and of
//! schedulers, statement by statement.

mod admission;
mod users;

pub(crate) use admission::Turn;

use crate::database::locks::Lock;
use crate::database::workers::TakeAwayReason;
use crate::database::{Session, Transaction};
use crate::faults::Mutant;
use orch_core::run::{Elements, Run};
use orch_core::transition::{Effects, Event, fold};
use orch_spec::state::RunType;
use orch_store::hot::Hot;
use orch_store::refold::{Folded, Keep, carry_out};
use orch_store::step::{Lease, Mode, Reply, RunAt, WorkerStep};
use orch_store::version::Version;
use orch_store::worker::HeartbeatAnswer;
use orch_store::{StoreError, StoreResult};
use orch_workers::sim::Heart;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A connection of a worker or a scheduler.
#[derive(Clone)]
pub(crate) struct MemStore {
    pub(crate) session: Session,
}

impl Hot for MemStore {
    async fn step(&mut self, step: &WorkerStep, worker: i32) -> StoreResult<Reply> {
        let nothing = step.moves.is_empty()
            && step.ended.is_empty()
            && step.keep.is_empty()
            && step.queue.is_empty()
            && step.claim.is_none();
        if nothing {
            return Ok(Reply::default());
        }
        // Lock order: run before instance.
        let mut locks: Vec<Lock> = step.moves.iter().map(|m| Lock::Run(m.run)).collect();
        locks.extend(step.ended.iter().map(|e| Lock::Instance((e.lease.run, e.lease.task, e.lease.map_index))));
        let step = step.clone();
        let who = self.session.who.clone();
        let claim = step.claim.clone();
        let sent = self.session.statement_with(
            locks,
            move |s, seen| s.pick(claim.as_ref(), worker, seen),
            move |s, seen, picked| {
                let (mode, ended, moves) = (step.mode, step.ended.len(), step.moves.len());
                s.say(&who, format_args!("step {mode:?}: {ended} ended, {moves} moves"));
                s.step(&step, worker, &[], picked, seen)
            },
        );
        sent.await
    }

    async fn fold_run(&mut self, run: Uuid, worker: i32, keep: Keep<'_>) -> StoreResult<Option<Folded>> {
        let mut tx = self.session.begin();
        let Some(locked) = lock_run(&mut tx, run, Some(Mutant::FoldWithoutLock)).await? else { return Ok(None) };
        let LockedRun { version, rev, clear_number, ledger, taken, events, fold_xmin } = locked;
        if events.is_empty() || ledger.state.is_finished() {
            if !events.is_empty() {
                tx.commit(move |s, _| {
                    s.delete_unfolded(&taken);
                    Ok(())
                })
                .await?;
            }
            return Ok(Some(Folded {
                version,
                rev,
                clear_number,
                ledger,
                moved: false,
                kept: Vec::new(),
                queued: false,
            }));
        }
        let (to, effects) = decide(&mut tx, &version, run, &ledger, &events, &taken).await?;
        let mut step = WorkerStep { mode: Mode::Locked { fold_xmin }, ..WorkerStep::default() };
        step.cleared = clear_number > 0;
        let keep = if step.cleared { Keep::NOTHING } else { keep };
        carry_out(&mut step, &version, RunAt { run, rev, run_type: RunType::Manual }, to.clone(), effects, keep);
        let (kept, queued) = (step.keep.clone(), !step.queue.is_empty() || !step.admit.is_empty());
        let who = self.session.who.clone();
        let written = tx.commit(move |s, seen| {
            s.say(&who, format_args!("fold of {}: {} outcomes", run.as_u128() & 0xffff, events.len()));
            let moves = s.tables.runs.get(&run).is_some_and(|r| r.rev == rev);
            if !moves && !s.is_mutant(Mutant::FoldWithoutLock) {
                return Err(StoreError::corrupt(format!("the locked run `{run}` did not move")));
            }
            s.delete_unfolded(&taken);
            s.step(&step, worker, &events, Vec::new(), seen)
        });
        written.await?;
        Ok(Some(Folded { version, rev: rev + 1, clear_number, ledger: to, moved: true, kept, queued }))
    }

    async fn decide(
        &mut self,
        version: &Version,
        run: Uuid,
        ledger: &Run,
        events: &[Event],
    ) -> StoreResult<(Run, Effects)> {
        let mut elements = Elements::default();
        loop {
            match fold(&version.plan, ledger, events, &elements) {
                Ok(done) => return Ok(done),
                Err(missing) => {
                    let (plan, ledger) = (version.plan.clone(), ledger.clone());
                    let found =
                        self.session.statement(vec![], move |s, _| Ok(s.elements(&plan, run, &ledger, missing, &[])));
                    elements.load(missing, found.await?);
                }
            }
        }
    }

    async fn restarted(&mut self, lease: Lease) -> StoreResult<()> {
        let key = (lease.run, lease.task, lease.map_index);
        let mut tx = self.session.begin();
        tx.lock(move |_, _| (vec![Lock::Run(lease.run)], ()), |_, _, ()| ()).await?;
        let ours = tx.lock(
            move |s, _| {
                let ours = s.is_restarting(key, lease.attempt);
                (if ours { vec![Lock::Instance(key)] } else { Vec::new() }, ours)
            },
            move |s, _, ours| ours && s.is_restarting(key, lease.attempt),
        );
        let ours = ours.await?;
        tx.commit(move |s, seen| {
            if ours {
                s.lease_can_grow(&key, 1)?;
                s.restart(key, seen);
            }
            Ok(())
        })
        .await
    }

    async fn start_queued_runs(&mut self, dag_id: &str) -> StoreResult<usize> {
        let dag = dag_id.to_string();
        if self.session.statement(vec![], move |s, _| Ok(s.queued_runs(&dag).is_empty())).await? {
            return Ok(0);
        }
        let mut tx = self.session.begin();
        let dag = dag_id.to_string();
        tx.lock(|_, _| (vec![Lock::Dag(dag)], ()), |_, _, ()| ()).await?;
        let dag = dag_id.to_string();
        tx.lock(move |s, _| (s.queued_runs(&dag).into_iter().map(Lock::Run).collect(), ()), |_, _, ()| ()).await?;
        let dag = dag_id.to_string();
        tx.commit(move |s, _| Ok(s.start_queued_runs(&dag))).await
    }

    async fn admit(&mut self) -> StoreResult<usize> {
        self.session.admit(Turn::Wait).await
    }

    /// Does nothing: the default pool is unlimited in the simulation.
    fn set_default_pool(&mut self, _has_size: bool) {}

    async fn resume(&mut self, worker: i32, has: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        self.session.statement(vec![], |_, _| Ok(())).await?;
        if !self.session.db.with(|s| s.is_mutant(Mutant::ResumedTooSoon)) {
            self.session.renewed().await;
        }
        if self.session.db.with(|s| s.is_mutant(Mutant::KeepsUnheard)) {
            return Ok(Vec::new());
        }
        self.session.give_back(worker, has).await
    }

    /// Returns an error, because no run is unreadable in the simulation.
    async fn park(&mut self, run: Uuid, why: &str) -> StoreResult<()> {
        Err(StoreError::corrupt(format!("run `{run}` was parked: {why}")))
    }

    fn know(&mut self, _version: Arc<Version>) {}
}

/// A locked run and its unfolded events (`run_lock::lock`).
struct LockedRun {
    version: Arc<Version>,
    rev: i32,
    clear_number: i16,
    ledger: Run,
    /// Ids of the unfolded rows, which are deleted at the commit.
    taken: Vec<u64>,
    events: Vec<Event>,
    fold_xmin: u64,
}

/// Locks a run. If the mutant `unlocked` is active, it reads the run without a lock.
async fn lock_run(tx: &mut Transaction, run: Uuid, unlocked: Option<Mutant>) -> StoreResult<Option<LockedRun>> {
    let row = tx.lock(
        move |s, _| {
            let free = unlocked.is_some_and(|mutant| s.is_mutant(mutant));
            (if free { Vec::new() } else { vec![Lock::Run(run)] }, ())
        },
        move |s, _, ()| {
            let row = s.tables.runs.get(&run);
            row.map(|r| (r.version.clone(), r.rev, r.clear_number, r.run.clone()))
        },
    );
    let Some((version, rev, clear_number, ledger)) = row.await? else { return Ok(None) };
    let (taken, events, fold_xmin) = tx.read(move |s, _| s.unfolded_of(run)).await?;
    Ok(Some(LockedRun { version, rev, clear_number, ledger, taken, events, fold_xmin }))
}

/// `refold::fold_loading` within a transaction.
async fn decide(
    tx: &mut Transaction,
    version: &Version,
    run: Uuid,
    ledger: &Run,
    events: &[Event],
    taken: &[u64],
) -> StoreResult<(Run, Effects)> {
    let mut elements = Elements::default();
    loop {
        match fold(&version.plan, ledger, events, &elements) {
            Ok(done) => return Ok(done),
            Err(missing) => {
                let (plan, taken, ledger) = (version.plan.clone(), taken.to_vec(), ledger.clone());
                let found = tx.read(move |s, _| s.elements(&plan, run, &ledger, missing, &taken)).await?;
                elements.load(missing, found);
            }
        }
    }
}

/// Sends the heartbeats of a worker.
pub(crate) struct MemHeart {
    pub(crate) session: Session,
    pub(crate) worker: i32,
    pub(crate) lease: Duration,
}

impl Heart for MemHeart {
    async fn beat(&mut self, _running: usize, obeyed: &[Uuid], draining: bool) -> StoreResult<HeartbeatAnswer> {
        let (worker, lease) = (self.worker, self.lease);
        let (who, obeyed) = (self.session.who.clone(), obeyed.to_vec());
        let beaten = self.session.statement(vec![Lock::Worker(worker)], move |s, seen| {
            let answer = s.heartbeat(worker, draining, &obeyed, lease, seen);
            s.say(&who, format_args!("heartbeat of w{worker}{}", if answer.lost { ": lost" } else { "" }));
            Ok(answer)
        });
        beaten.await
    }

    async fn good_bye(&mut self) -> StoreResult<()> {
        self.session.release(self.worker).await
    }
}

/// Calls of schedulers and starting workers.
impl Session {
    pub(crate) async fn register(&self, queues: Vec<i32>, versions: Vec<i32>, lease: Duration) -> StoreResult<i32> {
        let who = self.who.clone();
        let registered = self.statement(vec![], move |s, seen| {
            let id = s.register(queues, versions, lease, seen);
            s.say(&who, format_args!("registers as w{id}"));
            Ok(id)
        });
        registered.await
    }

    /// `store::worker::release`.
    async fn release(&self, worker: i32) -> StoreResult<()> {
        let mut tx = self.begin();
        tx.lock(move |_, _| (vec![Lock::Worker(worker)], ()), |_, _, ()| ()).await?;
        self.take_away(tx, vec![worker], TakeAwayReason::Released).await.map(drop)
    }

    /// `store::worker::give_back`.
    async fn give_back(&self, worker: i32, has: &[Uuid]) -> StoreResult<Vec<Uuid>> {
        let tx = self.begin();
        self.take_away(tx, vec![worker], TakeAwayReason::NeverBegun { has: has.to_vec() }).await
    }

    /// `store::worker::reap`. Returns the runs to fold, or `None` if no worker is lost.
    pub(crate) async fn reap(&self) -> StoreResult<Option<Vec<Uuid>>> {
        let mut tx = self.begin();
        let lost = tx.lock(
            |s, seen| {
                let expired = s.expired(seen);
                let free = s.is_mutant(Mutant::ReapWithoutSecondLook);
                (if free { Vec::new() } else { expired.iter().map(|w| Lock::Worker(*w)).collect() }, expired)
            },
            |s, seen, found| s.still_expired(found, seen),
        );
        let lost = lost.await?;
        if lost.is_empty() {
            return Ok(None);
        }
        self.take_away(tx, lost, TakeAwayReason::Lost).await.map(Some)
    }

    /// `store::worker::sweep_orphans`.
    pub(crate) async fn sweep_orphans(&self) -> StoreResult<Option<Vec<Uuid>>> {
        let workers = self.statement(vec![], |s, _| Ok(s.orphaned())).await?;
        if workers.is_empty() {
            return Ok(None);
        }
        let tx = self.begin();
        self.take_away(tx, workers, TakeAwayReason::Lost).await.map(Some)
    }

    async fn take_away(&self, mut tx: Transaction, workers: Vec<i32>, why: TakeAwayReason) -> StoreResult<Vec<Uuid>> {
        let theirs = workers.clone();
        let runs = tx.lock(
            move |s, _| {
                let runs = s.runs_of(&theirs);
                (runs.iter().map(|r| Lock::Run(*r)).collect(), runs)
            },
            |_, _, runs| runs,
        );
        let runs = runs.await?;
        let theirs = workers.clone();
        let kept = why.clone();
        let found = tx.lock(move |s, _| s.to_take(&runs, &theirs, &kept), |s, _, found| s.still_theirs(found)).await?;
        if matches!(why, TakeAwayReason::Lost) && !found.is_empty() {
            self.db.taking.notify_waiters();
        }
        tx.pause_at(20).await;
        let who = self.who.clone();
        let taken = tx.commit(move |s, seen| {
            s.say(&who, format_args!("takes {} from {workers:?}, {}", found.len(), why.word()));
            s.can_take_away(&found)?;
            s.worker_gone(&workers, &why);
            Ok(s.take_away(found, &why, seen))
        });
        taken.await
    }

    pub(crate) async fn left_unfolded(&self, older_than: Duration) -> StoreResult<Vec<Uuid>> {
        self.statement(vec![], move |s, seen| Ok(s.left_unfolded(older_than, seen))).await
    }

    pub(crate) async fn wake_waiting(&self) -> StoreResult<usize> {
        self.statement_with(vec![], |s, seen| (s.due(seen), Vec::new()), |s, _, due| Ok(s.wake(&due))).await
    }

    pub(crate) async fn create_run(&self, dag_id: &str) -> StoreResult<()> {
        let dag_id = dag_id.to_string();
        let lock = Lock::Dag(dag_id.clone());
        self.statement(vec![lock], move |s, _| {
            s.create_run(&dag_id);
            Ok(())
        })
        .await
    }
}
