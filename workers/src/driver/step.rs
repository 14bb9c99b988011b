//! One round trip of the worker's main loop: records ended attempts, applies their effects, and claims the next
//! attempts.

use super::{CLAIM_EVERY, CONTINUE, Driver};
use crate::job::Job;
use crate::outcome::{self, Finish};
use orch_core::plan::TaskIdx;
use orch_core::run::{Elements, Run};
use orch_core::transition::{Event, fold};
use orch_spec::Isolation;
use orch_spec::state::{RunState, RunType};
use orch_store::hint::Hint;
use orch_store::hot::Hot;
use orch_store::refold::{Keep, carry_out};
use orch_store::step::{Claimed, EndedTry, KnownRun, Lease, NewTry, Reply, RunAt, WorkerStep};
use orch_store::{StoreError, StoreResult};
use std::collections::BTreeMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

impl<S: Hot> Driver<S> {
    /// Records ended attempts, changes the state of their runs, and returns the attempts that this worker runs next.
    pub(super) async fn step(&mut self, finished: Vec<(Uuid, Finish)>, stopping: bool) -> StoreResult<Vec<Job>> {
        let mut step = WorkerStep { ended: self.ended(finished), ..WorkerStep::default() };
        step.release = self.frees_slots(&step.ended);
        self.make_room(&step);
        let jobs = self.carry(&mut step, stopping).await;
        if jobs.is_err() {
            self.unsure.append(&mut step.ended);
        }
        jobs
    }

    /// Returns true if any of these attempts holds a slot of a pool or limit. Runs that are not cached count as holding
    /// one.
    pub(super) fn frees_slots(&self, ended: &[EndedTry]) -> bool {
        let gated =
            |lease: &Lease| self.memory.get(&lease.run).is_none_or(|known| known.offer.version.is_gated(lease.task));
        ended.iter().any(|end| gated(&end.lease))
    }

    /// Admits waiting tasks to slots that this worker has freed, including tasks that it has queued itself.
    pub(super) async fn let_in(&mut self) -> StoreResult<()> {
        if !std::mem::take(&mut self.admit) {
            return Ok(());
        }
        match self.store.admit().await {
            Ok(0) | Err(StoreError::TryAgain(_)) => {} // a scheduler admits them, too
            Err(error) if error.is_of_one_item() => self.left_to_others("those who wait are let in", Err(error))?,
            Ok(_) => {
                self.lanes.expect_more();
                self.hints.give(Hint::Ready);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Evicts runs from the cache. Must be called between steps only, because a step needs the runs that it has just
    /// read.
    fn make_room(&mut self, step: &WorkerStep) {
        if self.memory.len() >= self.config.remembered_runs {
            let running = self.held.values().map(|held| held.claimed.lease.run);
            let needed = running.chain(step.ended.iter().map(|end| end.lease.run)).collect();
            self.memory.forget_all_but(&needed);
        }
    }

    /// Sends the step and handles its reply. After an error, `step` contains the outcomes that must be recorded again.
    async fn carry(&mut self, step: &mut WorkerStep, stopping: bool) -> StoreResult<Vec<Job>> {
        while let Some(&lease) = self.restarted.last() {
            let done = self.store.restarted(lease).await;
            self.left_to_others("a cleared try begins anew", done)?;
            self.restarted.pop();
            self.unfolded.push(lease.run);
        }
        let free = if stopping { 0 } else { self.lanes.free() };
        let mut by_run: BTreeMap<Uuid, Vec<Event>> = BTreeMap::new();
        for end in &step.ended {
            if let Some(event) = end.event() {
                by_run.entry(end.lease.run).or_default().push(event);
            }
        }
        let mut moves: BTreeMap<Uuid, Run> = BTreeMap::new();
        let room = if self.may_continue() { free } else { 0 };
        for (run, events) in &by_run {
            if self.memory.record_first(run) {
                self.unfolded.push(*run);
            } else if let Some(to) = self.decide(step, *run, events, room).await? {
                moves.insert(*run, to);
            } else {
                self.unfolded.push(*run);
            }
        }
        self.make_way(step, free);
        let mut asked = None;
        if !stopping && !self.made_way && self.should_claim(step) {
            asked = self.claim(step);
        }
        let reply = match self.store.step(step, self.worker).await {
            Ok(reply) => reply,
            Err(StoreError::FenceLost | StoreError::TryAgain(_)) => {
                self.unfolded.extend(moves.keys());
                moves.clear();
                let ended = std::mem::take(&mut step.ended);
                *step = WorkerStep::default();
                self.record(ended).await?;
                asked = None;
                Reply::default()
            }
            Err(error) if error.is_of_one_item() => {
                tracing::warn!(%error, cause = error.source_text(), "a step cannot be written: its outcomes are recorded one by one");
                self.unfolded.extend(moves.keys());
                moves.clear();
                let ended = std::mem::take(&mut step.ended);
                *step = WorkerStep::default();
                // After a rejected claim, wait for the next hint. An immediate retry would be rejected, too.
                if let (Some((kind, _)), true) = (asked.take(), ended.is_empty()) {
                    self.lanes.answered(kind, false);
                }
                self.record(ended).await?;
                Reply::default()
            }
            Err(error) => return Err(error),
        };
        if let Some((kind, most)) = asked {
            self.answered(kind, most, &reply);
        }
        self.after(step, reply, moves, free).await
    }

    /// Returns the outcomes of attempts that ended in this worker. An attempt whose state was set by another process
    /// has no outcome.
    fn ended(&mut self, finished: Vec<(Uuid, Finish)>) -> Vec<EndedTry> {
        let mut ended = Vec::with_capacity(finished.len());
        for (attempt, finish) in finished {
            let Some(held) = self.held.remove(&attempt) else { continue };
            self.lanes.end(held.kind);
            self.config.tally.ends();
            if let Some(order) = held.stop {
                self.forget_output(&held.claimed.lease);
                // The outcome was recorded together with the stop request. A cleared attempt restarts.
                self.obeyed.push(attempt);
                if order.why == "restarted" {
                    self.restarted.push(held.claimed.lease);
                }
                continue;
            }
            let claimed = held.claimed;
            if let Finish::Decided { ended, recorded: true } = finish {
                self.recorded(*ended);
                continue;
            }
            let known = self.memory.get(&claimed.lease.run);
            if known.is_some_and(|known| known.offer.version.id != claimed.version) {
                // A run cannot move to another version while its tasks run. This attempt must have been taken away
                // before.
                self.forget_output(&claimed.lease);
                continue;
            }
            let Some(offer) = self.offers.get(claimed.version) else { continue };
            let rev = known.map_or(0, |known| known.rev + 1);
            let run_type = known.map_or(RunType::Manual, |known| known.view.facts.run_type);
            let date = known.and_then(|known| known.view.facts.logical_date);
            let delay = || outcome::retry_delay_ms(&offer, &claimed, date);
            ended.extend(outcome::ended(&offer, &claimed, (rev, run_type), finish, delay));
        }
        ended.sort_unstable_by_key(|e| (e.lease.run, e.lease.task, e.lease.map_index));
        ended
    }

    /// Handles an attempt whose completion steps already recorded its outcome. The fold follows under the row lock.
    fn recorded(&mut self, ended: EndedTry) {
        let ended = [ended];
        self.unfolded.push(ended[0].lease.run);
        self.admit |= self.frees_slots(&ended);
        if ended[0].next.as_ref().is_some_and(|next| next.wake_in_ms <= 0) {
            self.lanes.expect_more();
            self.hints.give(Hint::Ready);
        }
        self.tell_others(&ended);
    }

    /// Removes the output of an attempt that was rejected. Outputs are cached before their outcome is recorded.
    pub(super) fn forget_output(&self, lease: &Lease) {
        self.shared.recent.forget(&(lease.run, lease.task, lease.map_index));
    }

    /// Returns false if this worker has continued with its own attempts for `CONTINUE`, so that other work gets a turn.
    fn may_continue(&mut self) -> bool {
        let since = *self.continuing.get_or_insert_with(Instant::now);
        if since.elapsed() < CONTINUE {
            return true;
        }
        self.continuing = None;
        false
    }

    /// Returns true if the step should claim. Usually false within a chain of tasks: without a hint, a claim is not
    /// needed before the next interval.
    fn should_claim(&self, step: &WorkerStep) -> bool {
        self.lanes.want_more() || step.keep.is_empty() || self.claimed_at.elapsed() >= CLAIM_EVERY
    }

    /// If the worker's own ready attempts would take all slots, queues those that are less urgent than waiting
    /// attempts.
    fn make_way(&mut self, step: &mut WorkerStep, free: usize) {
        let before = std::mem::take(&mut self.made_way);
        if step.keep.len() >= free {
            let urgent = |new: &NewTry| new.priority >= self.urgency;
            let (keep, queue): (Vec<_>, Vec<_>) = std::mem::take(&mut step.keep).into_iter().partition(urgent);
            // Omit the claim in a step that queues attempts, because it could claim less urgent ones. Two consecutive
            // steps never omit it.
            self.made_way = !queue.is_empty() && !before;
            step.keep = keep;
            step.queue.extend(queue);
        }
    }

    /// Adds a claim for the free slots to the step. Without free slots, only requests the highest waiting priority.
    fn claim(&mut self, step: &mut WorkerStep) -> Option<(Isolation, usize)> {
        let since = self.claimed_at.elapsed();
        let (kind, claim) = match self.lanes.claim(step.keep.len(), &self.version_ids) {
            Some(asked) => asked,
            None if step.keep.is_empty() || since < CLAIM_EVERY => return None,
            None => (Isolation::InProcess, self.lanes.peek_urgency(&self.version_ids)),
        };
        self.claimed_at = Instant::now();
        let most = usize::try_from(claim.most).unwrap_or(0);
        step.claim = Some(claim);
        Some((kind, most))
    }

    fn answered(&mut self, kind: Isolation, most: usize, reply: &Reply) {
        if most == 0 {
            self.urgency = reply.most_urgent.unwrap_or(i32::MIN);
            return;
        }
        let got_all = reply.claimed.len() >= most;
        self.lanes.answered(kind, got_all);
        if kind == Isolation::InProcess {
            // Waiting attempts are at most as urgent as the least urgent attempt that was claimed.
            let past = |known: &&KnownRun| known.facts.run_type == RunType::Backfill;
            let past: Vec<Uuid> = reply.runs.iter().filter(past).map(|known| known.run).collect();
            let priority = |c: &Claimed| {
                let of_task = self.offers.get(c.version)?.version.plan.task(c.lease.task).priority;
                let run_type = if past.contains(&c.lease.run) { RunType::Backfill } else { RunType::Manual };
                Some(run_type.priority(of_task))
            };
            let least = reply.claimed.iter().filter_map(priority).min();
            self.urgency = least.filter(|_| got_all).unwrap_or(i32::MIN);
        }
    }

    /// Folds events into the cached ledger (applies them to the run state) and adds the effects to the step. Returns
    /// `None` if the events must be folded under the row lock instead.
    async fn decide(
        &mut self,
        step: &mut WorkerStep,
        run: Uuid,
        events: &[Event],
        room: usize,
    ) -> StoreResult<Option<Run>> {
        let Some(known) = self.memory.get(&run) else { return Ok(None) };
        if known.clear_number > 0 {
            return Ok(None);
        }
        let at = RunAt { run, rev: known.rev, run_type: known.view.facts.run_type };
        let version = known.offer.version.clone();
        let (to, effects) = match fold(&version.plan, &known.ledger, events, &Elements::default()) {
            Ok(done) => done,
            Err(_) => {
                let ledger = known.ledger.clone();
                match self.store.decide(&version, run, &ledger, events).await {
                    Err(StoreError::TryAgain(_)) => return Ok(None),
                    Err(error) if error.is_of_one_item() => return Ok(None),
                    decided => decided?,
                }
            }
        };
        // Folding under the row lock also pauses the DAG, in the transaction that ends the run.
        if to.state == RunState::Failed && version.plan.spec.max_consecutive_failed_runs > 0 {
            return Ok(None);
        }
        let room = room.saturating_sub(step.keep.len());
        let keep = Keep { room: step.keep.len() + room, queues: &self.lanes.own_queues() };
        carry_out(step, &version, at, to.clone(), effects, keep);
        Ok(Some(to))
    }

    /// Sends hints: schedulers wake attempts that wait for a time, and watchers poll conditions.
    pub(super) fn tell_others(&self, ended: &[EndedTry]) {
        let next = || ended.iter().filter_map(|end| end.next.as_ref());
        if next().any(|next| next.wake_in_ms > 0) {
            self.hints.give(Hint::Due);
        }
        if next().any(|next| next.wait.as_ref().is_some_and(|wait| wait.condition.is_some() && wait.asks.is_none())) {
            self.hints.give(Hint::Watch);
        }
        if ended.iter().any(|end| end.touched.is_some()) {
            self.hints.give(Hint::Asset);
        }
        if ended.iter().any(|end| !end.alerts.is_empty()) {
            self.hints.give(Hint::Alert);
        }
    }

    async fn after(
        &mut self,
        step: &mut WorkerStep,
        reply: Reply,
        mut moves: BTreeMap<Uuid, Run>,
        free: usize,
    ) -> StoreResult<Vec<Job>> {
        let mut over: Vec<String> = Vec::new();
        for run in reply.moved {
            if let Some(to) = moves.remove(&run) {
                if to.state.is_finished() {
                    over.extend(self.memory.get(&run).map(|known| known.offer.version.dag_id.clone()));
                    self.shared.recent.forget_run(run);
                }
                self.memory.moved(run, to);
            }
        }
        // Runs that did not advance were changed by another process first. Their outcomes are recorded, but none of
        // their attempts start here.
        for run in moves.keys() {
            self.memory.lost_race(run);
            self.unfolded.push(*run);
        }
        let at_once = || step.ended.iter().filter_map(|e| e.next.as_ref()).filter(|n| n.wake_in_ms <= 0);
        let put = || step.queue.iter().filter(|q| !moves.contains_key(&q.run)).map(|q| q.queue);
        let put = || put().chain(at_once().map(|n| n.queue));
        let mut queued = put().any(|place| place > 0) || !step.admit.is_empty();
        let of_gates = |run: &Uuid| self.memory.get(run).is_some_and(|known| known.offer.version.has_gates());
        self.admit |= step.release || put().any(|place| place < 0) || step.admit.iter().any(|(run, ..)| of_gates(run));
        for known in reply.runs {
            let run = known.run;
            let Some(offer) = self.offers.get(known.version) else { continue };
            // Park an unreadable run: its attempts stay with this worker. Otherwise workers would claim and release
            // them in turns.
            if let Err(why) = self.memory.learn(known, &offer) {
                self.store.park(run, &why).await?;
            }
        }
        for (run, why) in &reply.unreadable {
            self.store.park(*run, why).await?;
        }
        let kept = std::mem::take(&mut step.keep).into_iter().filter(|k| !moves.contains_key(&k.run));
        let mut jobs: Vec<Job> = kept.filter_map(|k| self.job(first_try(&k))).collect();
        jobs.extend(reply.claimed.into_iter().filter_map(|c| self.job(c)));

        self.unfolded.sort_unstable();
        self.unfolded.dedup();
        let mut later = Vec::new();
        while let Some(&run) = self.unfolded.last() {
            let room = free.saturating_sub(jobs.len());
            let room = if self.memory.get(&run).is_some() { room } else { 0 };
            let keep = Keep { room, queues: &self.lanes.own_queues() };
            let folded = match self.store.fold_run(run, self.worker, keep).await {
                Err(StoreError::TryAgain(_)) => {
                    later.push(run);
                    None
                }
                folded => folded?,
            };
            self.unfolded.pop();
            let Some(folded) = folded else { continue };
            queued |= folded.queued;
            self.admit |= folded.queued && folded.version.has_gates();
            let kept: Vec<Job> = folded.kept.iter().filter_map(|k| self.job(first_try(k))).collect();
            jobs.extend(kept);
            if folded.moved && folded.ledger.state.is_finished() {
                over.push(folded.version.dag_id.clone());
                self.shared.recent.forget_run(run);
            }
            self.memory.folded(run, &folded);
        }
        if queued {
            self.lanes.expect_more();
        }
        self.unfolded = later;
        if queued {
            self.hints.give(Hint::Ready);
        }
        self.tell_others(&step.ended);
        if over.iter().any(|dag_id| self.offers.tells(dag_id)) {
            self.hints.give(Hint::Alert);
        }
        over.sort_unstable();
        over.dedup();
        for dag_id in over {
            self.next_runs(&dag_id).await?;
        }
        Ok(jobs)
    }

    /// Starts queued runs of a DAG after one of its runs has finished.
    async fn next_runs(&mut self, dag_id: &str) -> StoreResult<()> {
        match self.store.start_queued_runs(dag_id).await {
            Err(error) if error.is_of_one_item() => {
                self.left_to_others("runs of its DAG begin", Err(error))?;
            }
            Ok(0) => {}
            Ok(_) => {
                let ours = self.offers.all();
                let mut ours = ours.iter().filter(|offer| offer.version.dag_id == dag_id);
                self.admit |= ours.any(|offer| offer.version.has_gates());
                self.lanes.expect_more();
                self.hints.give(Hint::Ready);
            }
            Err(StoreError::TryAgain(_)) => {} // a scheduler starts them
            Err(error) => return Err(error),
        }
        self.hints.give(Hint::Run);
        Ok(())
    }

    /// Logs an error that affects only one item, and returns other errors. A scheduler retries the item.
    fn left_to_others(&self, what: &str, done: StoreResult<()>) -> StoreResult<()> {
        match done {
            Err(error) if error.is_of_one_item() => {
                tracing::error!(worker = self.worker, %error, cause = error.source_text(), "`{what}` cannot be done");
                Ok(())
            }
            done => done,
        }
    }

    fn job(&self, claimed: Claimed) -> Option<Job> {
        let known = self.memory.get(&claimed.lease.run)?;
        Some(Job { claimed, offer: known.offer.clone(), run: known.view.clone(), cancel: CancellationToken::new() })
    }
}

fn first_try(new: &NewTry) -> Claimed {
    let lease =
        Lease { run: new.run, task: new.task as TaskIdx, map_index: new.map_index, attempt: new.attempt, lease_no: 1 };
    Claimed { lease, version: new.version, try_no: 1, max_tries: new.retries, lost_no: 0 }
}
