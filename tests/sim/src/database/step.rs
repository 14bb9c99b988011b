//! The statement of `store::step`, part by part in the order of its SQL. It is applied completely or not at all.

use super::tables::{Instance, Key, PendingTry, Unfolded, Waiting, in_a_while};
use super::{Snapshot, State, unreachable};
use crate::check::{Grant, is_legal};
use crate::faults::Mutant;
use orch_core::transition::{Event, Outcome};
use orch_spec::state::{RunState, TaskState};
use orch_store::step::{EndedTry, Lease, Mode, Move, NewTry, Reply, WorkerStep};
use orch_store::{StoreError, StoreResult};
use std::collections::BTreeSet;
use uuid::Uuid;

impl State {
    /// Applies a step. `folded` are the events from which a locked step computed its ledgers, besides the step's own
    /// outcomes; `picked` are the rows that its claim takes.
    pub(crate) fn step(
        &mut self,
        step: &WorkerStep,
        worker: i32,
        folded: &[Event],
        picked: Vec<u64>,
        seen: Snapshot,
    ) -> StoreResult<Reply> {
        let moved: BTreeSet<Uuid> = step.moves.iter().filter(|m| self.moves(m)).map(|m| m.run).collect();
        let fenced_in: Vec<&EndedTry> = step.ended.iter().filter(|e| self.counts(&e.lease)).collect();
        if step.mode == Mode::Strict && fenced_in.len() != step.ended.len() {
            return Err(StoreError::FenceLost);
        }
        if let Some(key) = self.twice(step, &moved) {
            self.books.fail(format!("the statement would make a second row of {key:?}"));
            return Err(unreachable());
        }
        fenced_in.iter().try_for_each(|end| self.fits(end))?;
        let mut reply = Reply { moved: moved.iter().copied().collect(), ..Reply::default() };
        for end in &fenced_in {
            self.end(end, worker);
        }
        for m in step.moves.iter().filter(|m| moved.contains(&m.run)) {
            self.move_run(m, step, &fenced_in, folded);
        }
        for end in &fenced_in {
            self.after_end(end, step.release, &moved, seen);
        }
        if step.mode != Mode::Strict {
            let accepted = fenced_in.iter().map(|e| (e.lease.run, e.lease.task, e.lease.map_index));
            reply.accepted.extend(accepted);
        }
        self.put(step, &moved, worker);
        self.claim(picked, worker, seen, &mut reply);
        if let Some(look) = step.claim.as_ref().filter(|c| c.most == 0) {
            reply.most_urgent = self.most_urgent(look, seen);
        }
        let ended: BTreeSet<Uuid> = fenced_in.iter().map(|e| e.lease.run).collect();
        for run in moved.iter().chain(ended.difference(&moved)) {
            self.books.check(&self.tables, *run);
        }
        self.books.check_limits(&self.tables);
        Ok(reply)
    }

    fn moves(&self, m: &Move) -> bool {
        let ignored = self.is_mutant(Mutant::RevisionIgnored);
        self.tables.runs.get(&m.run).is_some_and(|r| (ignored || r.rev == m.rev) && r.run.state == RunState::Running)
    }

    fn counts(&self, lease: &Lease) -> bool {
        let Some(row) = self.tables.instances.get(&key_of(lease)) else { return false };
        let same = row.attempt == lease.attempt && row.lease_no == lease.lease_no && row.state == TaskState::Running;
        same || self.is_mutant(Mutant::NoFence)
    }

    /// Returns a new try whose primary key already exists.
    fn twice(&self, step: &WorkerStep, moved: &BTreeSet<Uuid>) -> Option<Key> {
        let t = &self.tables;
        let new = |n: &&NewTry| moved.contains(&n.run);
        let key = |n: &NewTry| (n.run, n.task, n.map_index);
        let kept = step.keep.iter().filter(new).map(key).find(|key| t.instances.contains_key(key));
        kept.or_else(|| step.hold.iter().filter(new).map(key).find(|key| t.held.contains_key(key)))
    }

    fn move_run(&mut self, m: &Move, step: &WorkerStep, fenced_in: &[&EndedTry], folded: &[Event]) {
        let mut events: Vec<Event> =
            fenced_in.iter().filter(|e| e.lease.run == m.run).filter_map(|e| e.event()).collect();
        events.extend_from_slice(folded);
        let commits = self.commits;
        let row = self.tables.runs.get_mut(&m.run).expect("it moves, so it is there");
        row.rev = m.rev + 1;
        row.run = m.to.clone();
        if let Mode::Locked { fold_xmin } = step.mode {
            row.fold_xmin = fold_xmin;
        }
        row.remember(commits);
        self.books.moved(m.run, &events, &m.to);
        self.trace.say(format_args!("     run {} rev {} {}", m.run.as_u128() & 0xffff, m.rev + 1, m.to.state));
    }

    fn end(&mut self, end: &EndedTry, worker: i32) {
        let key = key_of(&end.lease);
        let grant = Grant { attempt: end.lease.attempt, lease_no: end.lease.lease_no, worker };
        self.books.accepted(key, grant);
        self.set_state(key, end.state);
        let attempt = self.trace.attempt(end.lease.attempt);
        self.trace.say(format_args!(
            "     {} [{}, {}] a{attempt} {}",
            key.0.as_u128() & 0xffff,
            key.1,
            key.2,
            end.state
        ));
        if let Some(Event::Finished { outcome, .. }) = end.event() {
            self.books.ended(key, outcome);
        }
    }

    /// Sets the state of an instance, including decided and requeued ones. An illegal transition is a violation.
    pub(crate) fn set_state(&mut self, key: Key, to: TaskState) {
        let Some(row) = self.tables.instances.get_mut(&key) else { return };
        if !is_legal(Some(row.state), to) {
            self.books.fail(format!("{key:?} went from {} to {to}", row.state));
        }
        row.state = to;
    }

    fn after_end(&mut self, end: &EndedTry, release: bool, moved: &BTreeSet<Uuid>, seen: Snapshot) {
        let key = key_of(&end.lease);
        let lost = self.is_mutant(Mutant::NothingUnfolded);
        if let Some(Event::Finished { outcome, .. }) = end.event()
            && !moved.contains(&key.0)
            && !lost
        {
            self.unfold(key, &outcome, seen);
        }
        let row = self.tables.instances.get(&key).expect("it was fenced in").clone();
        if release {
            self.free(row.attempt);
        }
        if let Some(next) = &end.next {
            let retry = end.state == TaskState::UpForRetry;
            if retry && !self.tables.history.insert((key, row.attempt)) {
                self.books.fail(format!("a try of {key:?} became history twice"));
            }
            let again = PendingTry {
                key,
                attempt: next.attempt,
                version: next.version,
                queue: next.queue,
                priority: next.priority,
                try_no: if retry { row.try_no.saturating_add(1) } else { row.try_no },
                max_tries: row.max_tries,
                lease_no: if retry { 1 } else { row.lease_no + self.script.looks_at_once() },
                lost_no: row.lost_no,
            };
            if next.wake_in_ms > 0 {
                let wake_at = in_a_while(seen.now, next.wake_in_ms);
                self.tables.waiting.insert(key, Waiting { of: again, wake_at });
            } else {
                self.enqueue(again);
            }
        }
        if let Some((_, value)) = end.outputs.first() {
            self.tables.outputs.insert(key, value.clone().into_string());
        }
        if let Some(failure) = &end.failure {
            self.tables.failures.entry((end.lease.attempt, end.lease.lease_no)).or_insert(failure.kind);
        }
    }

    pub(crate) fn unfold(&mut self, key: Key, outcome: &Outcome, seen: Snapshot) {
        let (state, list_len, skip) = match outcome.clone() {
            Outcome::Success { list_len, skip } => (TaskState::Success, list_len, skip),
            Outcome::Failed => (TaskState::Failed, None, Vec::new()),
            Outcome::Skipped { skip } => (TaskState::Skipped, None, skip),
        };
        let (id, xid) = (self.tables.next(), self.locks.xid(seen.txn));
        self.tables.unfolded.push(Unfolded { id, key, state, list_len, skip, xid, recorded: seen.now });
    }

    pub(crate) fn enqueue(&mut self, new: PendingTry) {
        let seq = self.tables.next();
        self.tables.ready.insert(seq, (self.commits, new));
    }

    /// Inserts new tries, and instances that end without a try.
    fn put(&mut self, step: &WorkerStep, moved: &BTreeSet<Uuid>, worker: i32) {
        for new in step.keep.iter().filter(|n| moved.contains(&n.run)) {
            let taken = first_try(new);
            let attempt = self.trace.attempt(new.attempt);
            let (run, task, index) = taken.key;
            self.trace
                .say(format_args!("     {} [{task}, {index}] a{attempt} kept by w{worker}", run.as_u128() & 0xffff));
            self.give(&taken, worker);
        }
        for new in step.queue.iter().filter(|n| moved.contains(&n.run)) {
            let queued = self.next_try(new, step.cleared);
            self.enqueue(queued);
        }
        for new in step.hold.iter().filter(|n| moved.contains(&n.run)) {
            let held = self.next_try(new, step.cleared);
            self.tables.held.insert(held.key, held);
        }
        for &(run, task, most) in step.admit.iter().filter(|(run, _, _)| moved.contains(run)) {
            let most = usize::try_from(most).unwrap_or(0);
            let held = self.tables.held.range((run, task, i32::MIN)..=(run, task, i32::MAX));
            let picked: Vec<Key> = held.map(|(key, _)| *key).take(most).collect();
            for key in picked {
                if let Some(freed) = self.tables.held.remove(&key) {
                    self.enqueue(freed);
                }
            }
        }
        for &(run, task, index, state) in step.decided.iter().filter(|(run, ..)| moved.contains(run)) {
            self.decided((run, task, index), state);
        }
    }

    /// Returns the first try of an instance. In a cleared run, the numbering continues after the earlier tries.
    fn next_try(&self, new: &NewTry, cleared: bool) -> PendingTry {
        let mut next = first_try(new);
        let before = self.tables.instances.get(&next.key).filter(|_| cleared).map_or(0, |row| row.try_no);
        (next.try_no, next.max_tries) = (before.saturating_add(1), before.saturating_add(new.retries));
        next
    }

    pub(crate) fn decided(&mut self, key: Key, state: TaskState) {
        if self.tables.instances.contains_key(&key) {
            self.set_state(key, state);
            if let Some(row) = self.tables.instances.get_mut(&key) {
                row.worker = None;
            }
            return;
        }
        if !is_legal(None, state) {
            self.books.fail(format!("{key:?} was decided to be {state}"));
        }
        let row =
            Instance { attempt: Uuid::nil(), worker: None, try_no: 0, max_tries: 0, lease_no: 0, lost_no: 0, state };
        self.tables.instances.insert(key, row);
    }

    /// Leases the try to the worker.
    pub(crate) fn give(&mut self, taken: &PendingTry, worker: i32) {
        let grant = Grant { attempt: taken.attempt, lease_no: taken.lease_no, worker };
        self.books.granted(taken.key, grant, taken.try_no);
        if self.tables.instances.contains_key(&taken.key) {
            self.set_state(taken.key, TaskState::Running);
        }
        let row = Instance {
            attempt: taken.attempt,
            worker: Some(worker),
            try_no: taken.try_no,
            max_tries: taken.max_tries,
            lease_no: taken.lease_no,
            lost_no: taken.lost_no,
            state: TaskState::Running,
        };
        self.tables.instances.insert(taken.key, row);
    }
}

pub(crate) fn key_of(lease: &Lease) -> Key {
    (lease.run, lease.task, lease.map_index)
}

pub(crate) fn first_try(new: &NewTry) -> PendingTry {
    PendingTry {
        key: (new.run, new.task, new.map_index),
        attempt: new.attempt,
        version: new.version,
        queue: new.queue,
        priority: new.priority,
        try_no: 1,
        max_tries: new.retries,
        lease_no: 1,
        lost_no: 0,
    }
}
