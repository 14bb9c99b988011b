//! Records outcomes without folding them (applying them to their runs): after an update conflict, on a new connection,
//! or if an outcome cannot be written. Such an outcome is found by bisection and recorded as failed; the others are
//! recorded unchanged.

use super::Driver;
use orch_core::alert::{NewAlert, TryEnd, of_try};
use orch_store::hot::Hot;
use orch_store::step::{EndedTry, Mode, Reply, UNRECORDABLE, WorkerStep};
use orch_store::{StoreError, StoreResult};

impl<S: Hot> Driver<S> {
    /// Records outcomes without folding them. Outcomes of attempts that this worker no longer owns are skipped.
    /// Outcomes that cannot be recorded stay in `unsure`.
    pub(super) async fn record(&mut self, ended: Vec<EndedTry>) -> StoreResult<()> {
        let release = self.frees_slots(&ended);
        self.admit |= release;
        let mut batches = vec![ended];
        while let Some(batch) = batches.pop() {
            let step = WorkerStep { ended: batch, mode: Mode::Record, release, ..WorkerStep::default() };
            match self.store.step(&step, self.worker).await {
                Ok(reply) => self.was_recorded(&step, &reply),
                Err(error) if error.is_of_one_item() => batches.extend(self.without_one(step.ended, &error)),
                Err(error) => {
                    self.unsure.extend(batches.into_iter().flatten().chain(step.ended));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn was_recorded(&mut self, step: &WorkerStep, reply: &Reply) {
        self.tell_others(&step.ended);
        let fenced = step.ended.len() - reply.accepted.len();
        if fenced > 0 {
            let counted = |end: &&EndedTry| !reply.accepted.contains(&end.place());
            step.ended.iter().filter(counted).for_each(|end| self.forget_output(&end.lease));
            tracing::info!(fenced, "outcomes of tries that are not ours any more were dropped");
        }
    }

    /// Splits a rejected batch into halves. Replaces a single rejected outcome by a failure whose message can be
    /// written.
    fn without_one(&mut self, mut batch: Vec<EndedTry>, error: &StoreError) -> Vec<Vec<EndedTry>> {
        if batch.len() > 1 {
            let second = batch.split_off(batch.len() / 2);
            return vec![second, batch];
        }
        let Some(end) = batch.pop() else { return Vec::new() };
        let lease = end.lease;
        let is_told = end.failure.as_ref().is_some_and(|failure| failure.kind == UNRECORDABLE);
        let (run, task, map_index, cause) = (lease.run, lease.task, lease.map_index, error.source_text());
        if is_told && end.alerts.is_empty() {
            // The outcome contains no user-provided text any more, so nothing else can be replaced.
            tracing::error!(%run, task, map_index, %error, cause, "the end of a try cannot be recorded at all");
            return Vec::new();
        }
        tracing::error!(%run, task, map_index, %error, cause, "the end of a try cannot be written: it is recorded as failed");
        self.forget_output(&lease);
        let mut told = end.unrecordable();
        if !is_told {
            told.alerts = self.alerts_of(&told);
        }
        vec![vec![told]]
    }

    fn alerts_of(&self, end: &EndedTry) -> Vec<NewAlert> {
        let Some(known) = self.memory.get(&end.lease.run) else { return Vec::new() };
        let spec = &known.offer.version.plan.spec;
        let of = TryEnd {
            attempt: end.lease.attempt,
            try_number: end.try_no,
            map_index: end.lease.map_index,
            state: end.state,
            causes: end.failure.as_ref().map_or(&[], |failure| &failure.causes),
        };
        of_try(&spec.dag_id, &spec.tasks[usize::from(end.lease.task)], of)
    }
}
