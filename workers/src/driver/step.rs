//! One round trip: what ended, what follows, what is taken next.

use super::{CLAIM_EVERY, CONTINUE, Driver};
use crate::body::Job;
use crate::offer::Offer;
use crate::outcome::{self, Finish};
use orch_core::plan::TaskIdx;
use orch_core::retry::{logical_date_key, retry_delay};
use orch_core::run::Elements;
use orch_core::run::Run;
use orch_core::transition::{Event, fold};
use orch_store::hint::Hint;
use orch_store::hot::Hot;
use orch_store::refold::carry_out;
use orch_store::step::{Claim, Claimed, Ended, Lease, Mode, NewTry, Reply, Step};
use orch_store::{StoreError, StoreResult};
use std::collections::BTreeMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DEFAULT_RETRY_DELAY_MS: u64 = 300_000;
/// Tries to record outcomes when the database asks to try again.
const RECORD_TRIES: u32 = 10;

impl<S: Hot> Driver<S> {
    /// Records what ended, moves the runs, and gives what this worker runs next.
    pub(super) async fn step(&mut self, finished: Vec<(Uuid, Finish)>, stopping: bool) -> StoreResult<Vec<Job>> {
        let ended = self.ended(finished);
        let restarted = std::mem::take(&mut self.restarted);
        for lease in &restarted {
            self.store.restarted(*lease).await?;
        }
        let free = self.config.slots.saturating_sub(self.held.len());
        let free = if stopping { 0 } else { free };
        let mut by_run: BTreeMap<Uuid, Vec<Event>> = BTreeMap::new();
        for end in &ended {
            if let Some(event) = end.event() {
                by_run.entry(end.lease.run).or_default().push(event);
            }
        }
        let mut step = Step { ended, ..Step::default() };
        let mut moves: BTreeMap<Uuid, Run> = BTreeMap::new();
        let mut contended: Vec<Uuid> = restarted.iter().map(|lease| lease.run).collect();
        let room = if self.may_continue() { free } else { 0 };
        for (run, events) in &by_run {
            if self.memory.record_first(run) {
                contended.push(*run);
            } else if let Some(to) = self.decide(&mut step, *run, events, room).await? {
                moves.insert(*run, to);
            } else {
                contended.push(*run);
            }
        }
        let most = free.saturating_sub(step.keep.len()) as i32;
        let most = if self.should_claim(&step) { most } else { 0 };
        if most > 0 {
            self.claimed_at = Instant::now();
            step.claim = Some(Claim { most, queues: self.queues.clone(), versions: self.version_ids.clone() });
        }
        let reply = match self.store.step(&step, self.worker).await {
            Ok(reply) => reply,
            Err(StoreError::FenceLost | StoreError::TryAgain(_)) => {
                contended.extend(moves.keys());
                moves.clear();
                self.record(std::mem::take(&mut step.ended)).await?;
                step = Step::default();
                Reply::default()
            }
            Err(error) => return Err(error),
        };
        self.after(step, reply, moves, contended, free, most).await
    }

    /// What the engine is told of tries that ended here. One whose state was set by somebody else says nothing.
    fn ended(&mut self, finished: Vec<(Uuid, Finish)>) -> Vec<Ended> {
        let mut ended = Vec::with_capacity(finished.len());
        for (attempt, finish) in finished {
            let Some(held) = self.held.remove(&attempt) else { continue };
            if let Some(order) = held.stop {
                self.forget_output(&held.claimed.lease);
                // Whoever gave the order has recorded how it ends; one that was cleared begins anew.
                self.obeyed.push(attempt);
                if order.why == "restarted" {
                    self.restarted.push(held.claimed.lease);
                }
                continue;
            }
            let claimed = held.claimed;
            let known = self.memory.get(&claimed.lease.run);
            if known.is_some_and(|known| known.offer.version.id != claimed.version) {
                // The run has gone over to another version, so nothing of it ran: this try was taken away long since.
                self.forget_output(&claimed.lease);
                continue;
            }
            let Some(offer) = self.offers.get(claimed.version) else { continue };
            let rev = self.memory.get(&claimed.lease.run).map_or(0, |known| known.rev + 1);
            let delay = || self.retry_delay(offer, &claimed);
            ended.extend(outcome::ended(offer, &claimed, rev, finish, delay));
        }
        ended.sort_unstable_by_key(|e| (e.lease.run, e.lease.task, e.lease.map_index));
        ended
    }

    /// Bodies remember what they gave before it is known whether that counts.
    fn forget_output(&self, lease: &Lease) {
        self.shared.recent.forget(&(lease.run, lease.task, lease.map_index));
    }

    fn retry_delay(&self, offer: &Offer, claimed: &Claimed) -> u64 {
        let plan = &offer.version.plan;
        let spec = &plan.spec.tasks[usize::from(claimed.lease.task)];
        let date = self.memory.get(&claimed.lease.run).and_then(|known| known.view.facts.logical_date);
        let o = &spec.options;
        let delay = retry_delay(
            o.retry_delay_ms.unwrap_or(DEFAULT_RETRY_DELAY_MS),
            o.retry_backoff.unwrap_or(0.0),
            o.max_retry_delay_ms,
            &plan.spec.dag_id,
            &spec.task_id,
            &logical_date_key(date),
            u32::try_from(claimed.try_no).unwrap_or(1),
        );
        u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
    }

    /// After a while of going on with its own work a worker lets everybody have a turn.
    fn may_continue(&mut self) -> bool {
        let since = *self.continuing.get_or_insert_with(Instant::now);
        if since.elapsed() < CONTINUE {
            return true;
        }
        self.continuing = None;
        false
    }

    /// Not each step of a chain looks for other work: nobody said that there is any, and the next look is near.
    fn should_claim(&self, step: &Step) -> bool {
        self.look_again || step.keep.is_empty() || self.claimed_at.elapsed() >= CLAIM_EVERY
    }

    /// Folds events into a run as we remember it and adds what follows to the step. `None`: leave it to the lock.
    async fn decide(&mut self, step: &mut Step, run: Uuid, events: &[Event], room: usize) -> StoreResult<Option<Run>> {
        let Some(known) = self.memory.get(&run) else { return Ok(None) };
        if known.clear_number > 0 {
            return Ok(None);
        }
        let (rev, version) = (known.rev, known.offer.version.clone());
        let (to, effects) = match fold(&version.plan, &known.ledger, events, &Elements::default()) {
            Ok(done) => done,
            Err(_) => {
                let ledger = known.ledger.clone();
                self.store.decide(&version, run, &ledger, events).await?
            }
        };
        let room = room.saturating_sub(step.keep.len());
        carry_out(step, &version, run, rev, to.clone(), effects, step.keep.len() + room);
        Ok(Some(to))
    }

    /// Records what still counts; the fold follows under the lock.
    async fn record(&mut self, ended: Vec<Ended>) -> StoreResult<()> {
        let step = Step { ended, mode: Mode::Record, ..Step::default() };
        for _ in 0..RECORD_TRIES {
            match self.store.step(&step, self.worker).await {
                Ok(reply) => {
                    let fenced = step.ended.len() - reply.accepted.len();
                    if fenced > 0 {
                        let counted = |l: &Lease| reply.accepted.contains(&(l.run, l.task, l.map_index));
                        step.ended.iter().filter(|e| !counted(&e.lease)).for_each(|e| self.forget_output(&e.lease));
                        tracing::info!(fenced, "outcomes of tries that are not ours any more were dropped");
                    }
                    return Ok(());
                }
                Err(StoreError::TryAgain(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::corrupt("the database asked to try again too often"))
    }

    async fn after(
        &mut self,
        step: Step,
        reply: Reply,
        mut moves: BTreeMap<Uuid, Run>,
        mut contended: Vec<Uuid>,
        free: usize,
        most: i32,
    ) -> StoreResult<Vec<Job>> {
        let mut over: Vec<String> = Vec::new();
        for run in reply.moved {
            if let Some(to) = moves.remove(&run) {
                if to.state.is_finished() {
                    over.extend(self.memory.get(&run).map(|known| known.view.facts.dag_id.to_string()));
                    self.shared.recent.forget_run(run);
                }
                self.memory.moved(run, to);
            }
        }
        // What did not move lost its race: its outcomes are recorded, the tries we meant to begin are not.
        for run in moves.keys() {
            self.memory.lost_race(run);
            contended.push(*run);
        }
        let mut queued = step.queue.iter().any(|q| !moves.contains_key(&q.run)) || !step.admit.is_empty();
        queued |= step.ended.iter().any(|e| e.next.as_ref().is_some_and(|n| n.wake_in_ms <= 0));
        let waits = step.ended.iter().any(|e| e.next.as_ref().is_some_and(|n| n.wake_in_ms > 0));
        // What was not claimed now is looked for when nothing is left to go on with.
        self.look_again = queued || reply.claimed.len() as i32 >= most.max(1);
        for known in reply.runs {
            if let Some(offer) = self.offers.get(known.version).cloned() {
                self.memory.learn(known, &offer).map_err(StoreError::corrupt)?;
            }
        }
        let kept = step.keep.into_iter().filter(|k| !moves.contains_key(&k.run));
        let mut jobs: Vec<Job> = kept.filter_map(|k| self.job(first_try(&k))).collect();
        jobs.extend(reply.claimed.into_iter().filter_map(|c| self.job(c)));

        contended.sort_unstable();
        contended.dedup();
        for run in contended {
            let room = free.saturating_sub(jobs.len());
            let room = if self.memory.get(&run).is_some() { room } else { 0 };
            let Some(folded) = self.store.fold_run(run, self.worker, room).await? else {
                continue;
            };
            queued |= folded.queued;
            let kept: Vec<Job> = folded.kept.iter().filter_map(|k| self.job(first_try(k))).collect();
            jobs.extend(kept);
            if folded.moved && folded.ledger.state.is_finished() {
                over.push(folded.version.dag_id.clone());
                self.shared.recent.forget_run(run);
            }
            self.memory.folded(run, &folded);
        }
        self.look_again |= queued;
        if queued {
            self.hints.give(Hint::Ready);
        }
        if waits {
            self.hints.give(Hint::Due);
        }
        over.sort_unstable();
        over.dedup();
        for dag_id in over {
            self.next_runs(&dag_id).await?;
        }
        Ok(jobs)
    }

    /// A run of this DAG is over: one that waited for its place may begin.
    async fn next_runs(&mut self, dag_id: &str) -> StoreResult<()> {
        if self.store.start_queued_runs(dag_id).await? > 0 {
            self.look_again = true;
            self.hints.give(Hint::Ready);
        }
        self.hints.give(Hint::Run);
        Ok(())
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
