//! Rows of workers: registration, heartbeat, and recovery of the instances of lost workers (`store::worker`).

use super::locks::Lock;
use super::tables::{Instance, Key, Order, PendingTry, Unfolded, WorkerRow, WorkerState};
use super::{Snapshot, State};
use crate::faults::Mutant;
use orch_core::transition::Outcome;
use orch_spec::OnLost;
use orch_spec::state::{RunState, TaskState};
use orch_store::StoreResult;
use orch_store::step::Lease;
use orch_store::worker::{HeartbeatAnswer, StopOrder};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// An instance that is taken from its worker, as it was when it was locked.
pub(crate) type LockedInstance = (Key, Instance);

/// The reason why instances are taken from a worker.
#[derive(Debug, Clone)]
pub(crate) enum TakeAwayReason {
    Lost,
    Released,
    /// The worker has no record of these instances: all except the attempts in `has`.
    NeverBegun {
        has: Vec<Uuid>,
    },
}

impl TakeAwayReason {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            TakeAwayReason::Lost => "lost",
            TakeAwayReason::Released => "released",
            TakeAwayReason::NeverBegun { .. } => "never begun",
        }
    }
}

impl State {
    pub(crate) fn register(&mut self, queues: Vec<i32>, versions: Vec<i32>, lease: Duration, seen: Snapshot) -> i32 {
        let id = self.tables.workers.len() as i32 + 1;
        let row =
            WorkerRow { state: WorkerState::Running, expires_at: seen.now + lease, since: None, queues, versions };
        self.tables.workers.insert(id, row);
        id
    }

    pub(crate) fn heartbeat(
        &mut self,
        worker: i32,
        draining: bool,
        obeyed: &[Uuid],
        lease: Duration,
        seen: Snapshot,
    ) -> HeartbeatAnswer {
        self.tables.orders.retain(|o| o.worker != worker || !obeyed.contains(&o.attempt));
        let alive = self.tables.is_alive(worker);
        let Some(row) = self.tables.workers.get_mut(&worker).filter(|_| alive) else {
            return HeartbeatAnswer { lost: true, ..HeartbeatAnswer::default() };
        };
        if draining {
            row.state = WorkerState::Draining;
            row.since.get_or_insert(self.commits);
        }
        row.expires_at = seen.now + lease;
        let fits = |t: &PendingTry| row.queues.contains(&t.queue) && row.versions.contains(&t.version);
        let ready_waiting = self.tables.ready.values().any(|(_, t)| fits(t));
        let orders = self.tables.orders.iter().filter(|o| o.worker == worker).map(Order::told);
        HeartbeatAnswer { stop_orders: orders.collect(), ready_waiting, ..HeartbeatAnswer::default() }
    }

    /// Returns the workers whose lease has expired.
    pub(crate) fn expired(&self, seen: Snapshot) -> Vec<i32> {
        let over = |(id, w): &(&i32, &WorkerRow)| self.tables.is_alive(**id) && w.expires_at < seen.now;
        self.tables.workers.iter().filter(over).map(|(id, _)| *id).collect()
    }

    /// Returns the workers that are still expired now that their rows are locked.
    pub(crate) fn still_expired(&self, workers: Vec<i32>, seen: Snapshot) -> Vec<i32> {
        if self.is_mutant(Mutant::ReapWithoutSecondLook) {
            return workers;
        }
        let now = self.expired(seen);
        workers.into_iter().filter(|w| now.contains(w)).collect()
    }

    /// Marks workers as stopped or lost.
    pub(crate) fn worker_gone(&mut self, workers: &[i32], why: &TakeAwayReason) {
        let state = match why {
            TakeAwayReason::Lost => WorkerState::Lost,
            TakeAwayReason::Released => WorkerState::Stopped,
            TakeAwayReason::NeverBegun { has } => {
                return self.tables.orders.retain(|o| !workers.contains(&o.worker) || has.contains(&o.attempt));
            }
        };
        self.tables.orders.retain(|o| !workers.contains(&o.worker));
        for worker in workers {
            let promised = self.tables.workers.get(worker).is_some_and(|w| w.expires_at >= Instant::now());
            if state == WorkerState::Lost && promised && self.tables.is_alive(*worker) {
                self.books.fail(format!("worker {worker} is given up while its lease runs"));
            }
            if let Some(row) = self.tables.workers.get_mut(worker).filter(|w| w.state != WorkerState::Lost) {
                row.state = state;
                row.since.get_or_insert(self.commits);
            }
        }
    }

    /// Returns workers that have instances but are not alive.
    pub(crate) fn orphaned(&self) -> Vec<i32> {
        let running = |run: &Uuid| self.tables.runs.get(run).is_some_and(|r| r.run.state == RunState::Running);
        let held = self.tables.instances.iter().filter(|(key, i)| runs(i.state) && running(&key.0));
        let workers: BTreeSet<i32> = held.filter_map(|(_, i)| i.worker).collect();
        workers.into_iter().filter(|w| !self.tables.is_alive(*w)).collect()
    }

    /// Returns the runs in which these workers have instances.
    pub(crate) fn runs_of(&self, workers: &[i32]) -> Vec<Uuid> {
        let runs: BTreeSet<Uuid> = self.instances_of_workers(workers).map(|(key, _)| key.0).collect();
        let running = |id: &Uuid| self.tables.runs.get(id).is_some_and(|r| r.run.state == RunState::Running);
        runs.into_iter().filter(running).collect()
    }

    fn instances_of_workers<'a>(&'a self, workers: &'a [i32]) -> impl Iterator<Item = (&'a Key, &'a Instance)> {
        let theirs = |i: &Instance| runs(i.state) && i.worker.is_some_and(|w| workers.contains(&w));
        self.tables.instances.iter().filter(move |(_, i)| theirs(i))
    }

    /// Returns the workers' instances in these runs, and their locks.
    pub(crate) fn to_take(
        &self,
        runs: &[Uuid],
        workers: &[i32],
        why: &TakeAwayReason,
    ) -> (Vec<Lock>, Vec<LockedInstance>) {
        let found: Vec<LockedInstance> = self
            .instances_of_workers(workers)
            .filter(|(key, _)| runs.contains(&key.0))
            .filter(|(_, i)| !matches!(why, TakeAwayReason::NeverBegun { has } if has.contains(&i.attempt)))
            .map(|(key, i)| (*key, i.clone()))
            .collect();
        let locks = if self.is_mutant(Mutant::ReapWithoutLock) {
            Vec::new()
        } else {
            found.iter().map(|(key, _)| Lock::Instance(*key)).collect()
        };
        (locks, found)
    }

    /// Returns the instances that have not changed before they were locked.
    pub(crate) fn still_theirs(&self, mut found: Vec<LockedInstance>) -> Vec<LockedInstance> {
        let same = |now: &Instance, was: &Instance| {
            now.state == was.state && now.worker == was.worker && now.lease_no == was.lease_no
        };
        found.retain(|(key, was)| self.tables.instances.get(key).is_some_and(|now| same(now, was)));
        found
    }

    /// Ends an instance that was cleared while it ran: the try becomes history, and the trigger rule is evaluated
    /// again.
    pub(crate) fn restart(&mut self, key: Key, seen: Snapshot) {
        let Some(row) = self.tables.instances.get_mut(&key) else { return };
        (row.state, row.worker, row.lease_no) = (TaskState::None, None, row.lease_no + 1);
        let attempt = row.attempt;
        self.tables.history.insert((key, attempt));
        self.free(attempt);
        self.trace.say(format_args!("     {} [{}, {}] has stopped", key.0.as_u128() & 0xffff, key.1, key.2));
        let (id, xid) = (self.tables.next(), self.locks.xid(seen.txn));
        let state = TaskState::Restarting;
        self.tables.unfolded.push(Unfolded {
            id,
            key,
            state,
            list_len: None,
            skip: Vec::new(),
            xid,
            recorded: seen.now,
        });
        self.books.check(&self.tables, key.0);
    }

    /// Checks that all lease numbers can grow. Otherwise the statement writes nothing.
    pub(crate) fn can_take_away(&self, found: &[LockedInstance]) -> StoreResult<()> {
        found.iter().try_for_each(|(key, _)| self.lease_can_grow(key, 1))
    }

    /// Takes instances away: each is requeued as the same try with a new lease, or fails if it was lost too often.
    /// Returns the runs that need a fold.
    pub(crate) fn take_away(&mut self, found: Vec<LockedInstance>, why: &TakeAwayReason, seen: Snapshot) -> Vec<Uuid> {
        let lost = matches!(why, TakeAwayReason::Lost);
        let mut failed = BTreeSet::new();
        for (key, was) in found {
            let Some(row) = self.tables.instances.get(&key).cloned() else { continue };
            if was.state == TaskState::Restarting {
                self.restart(key, seen);
                failed.insert(key.0);
                continue;
            }
            let version = self.tables.runs[&key.0].version.clone();
            let planned = version.plan.task(key.1);
            let over = match planned.on_lost {
                OnLost::Retry(most) => lost && row.lost_no as u16 >= most,
                OnLost::Fail => !matches!(why, TakeAwayReason::NeverBegun { .. }),
            };
            self.books.taken_away(key, was.worker.unwrap_or(0));
            let attempt = self.trace.attempt(row.attempt);
            let (run, task, index) = (key.0.as_u128() & 0xffff, key.1, key.2);
            self.trace.say(format_args!("     {run} [{task}, {index}] a{attempt} taken away, lost {}", row.lost_no));
            let lease_no = if self.is_mutant(Mutant::SameLeaseAgain) { row.lease_no } else { row.lease_no + 1 };
            let lost_no = row.lost_no.saturating_add(i16::from(lost || over));
            if over {
                self.set_state(key, TaskState::Failed);
                self.books.ended(key, Outcome::Failed);
                self.tables.failures.insert((row.attempt, lease_no), "lost");
                self.books.bodies.disturb(key);
                self.unfold(key, &Outcome::Failed, seen);
                self.free(row.attempt);
                failed.insert(key.0);
            } else {
                self.set_state(key, TaskState::Queued);
                self.enqueue(PendingTry {
                    key,
                    attempt: row.attempt,
                    version: version.id,
                    queue: version.place(key.1),
                    priority: planned.priority,
                    try_no: row.try_no,
                    max_tries: row.max_tries,
                    lease_no,
                    lost_no,
                });
            }
            let row = self.tables.instances.get_mut(&key).expect("looked at above");
            (row.lease_no, row.lost_no) = (lease_no, lost_no);
            if row.state == TaskState::Queued {
                row.worker = None;
            }
            self.books.check(&self.tables, key.0);
        }
        failed.into_iter().collect()
    }
}

fn runs(state: TaskState) -> bool {
    matches!(state, TaskState::Running | TaskState::Restarting)
}

impl Order {
    fn told(&self) -> StopOrder {
        let (run, task, map_index) = self.key;
        let lease = Lease { run, task, map_index, attempt: self.attempt, lease_no: 0 };
        StopOrder { lease, why: self.why.into() }
    }
}
