//! Changes by users during the simulation: they cancel runs or set their final state, clear instances, and move runs
//! to another version.

use super::World;
use crate::database::tables::RunRow;
use orch_core::plan::TaskIdx;
use orch_core::select::Selection;
use orch_core::transition::{RunEnd, Selected};
use orch_spec::state::TaskState;
use orch_store::hint::{Hint, Hints};
use uuid::Uuid;

impl World {
    /// Changes a random run. A lost response is not retried.
    pub(super) fn change_a_run(&mut self) {
        let runs: Vec<Uuid> = self.db.with(|s| s.tables.runs.keys().copied().collect());
        if runs.is_empty() {
            return;
        }
        let run = self.rng.pick(&runs);
        match self.rng.below(8) {
            0 | 1 => self.end_run(run),
            2 => self.move_run(run),
            _ => self.clear(run),
        }
    }

    fn end_run(&mut self, run: Uuid) {
        let (end, why) = self.rng.pick(&[
            (RunEnd::Failed, "cancelled"),
            (RunEnd::Failed, "marked"),
            (RunEnd::Success, "marked"),
            (RunEnd::TimedOut, "timed_out"),
        ]);
        let dag_id = self.dag_of(run);
        let (session, hints) = (self.db.session("user".into(), None), self.shared_hints.clone());
        self.tasks.spawn(async move {
            let Ok(ended) = session.end_run(run, end, why).await else { return };
            if !ended && why == "marked" {
                drop(session.mark_over(run, end.run_state()).await);
            }
            tell(hints.as_ref(), &[Hint::Stop, Hint::Run]);
            let mut store = crate::store::MemStore { session };
            drop(orch_store::hot::Hot::start_queued_runs(&mut store, &dag_id).await);
            tell(hints.as_ref(), &[Hint::Ready]);
        });
    }

    fn clear(&mut self, run: Uuid) {
        let version = self.db.with(|s| s.tables.runs[&run].version.clone());
        let plan = &version.plan;
        let mut tasks = Vec::new();
        for _ in 0..self.rng.between(1, 2) {
            let task = self.rng.below(plan.tasks.len()) as TaskIdx;
            let one = plan.task(task).map.is_some() && self.rng.chance(300);
            tasks.push(Selected { task, index: one.then(|| self.rng.below(3) as i32) });
        }
        let selection = Selection { tasks, upstream: self.rng.chance(150), downstream: self.rng.chance(700) };
        let states = match self.rng.below(4) {
            0 => vec![TaskState::Failed, TaskState::UpstreamFailed],
            1 => vec![TaskState::Running],
            _ => Vec::new(),
        };
        let (session, hints) = (self.db.session("user".into(), None), self.shared_hints.clone());
        self.tasks.spawn(async move {
            if session.clear((run, version.id), &selection, &states).await.is_ok() {
                tell(hints.as_ref(), &[Hint::Ready, Hint::Stop]);
            }
        });
    }

    fn move_run(&mut self, run: Uuid) {
        let dag_id = self.dag_of(run);
        let versions: Vec<_> = self.versions.iter().filter(|v| v.dag_id == dag_id).cloned().collect();
        let to = versions[self.rng.below(versions.len())].clone();
        let (session, hints) = (self.db.session("user".into(), None), self.shared_hints.clone());
        self.tasks.spawn(async move {
            if session.move_run(run, &to).await.is_ok() {
                tell(hints.as_ref(), &[Hint::Ready]);
            }
        });
    }

    fn dag_of(&self, run: Uuid) -> String {
        self.db.with(|s| s.tables.runs.get(&run).map(|r: &RunRow| r.version.dag_id.clone()).unwrap_or_default())
    }
}

fn tell(hints: Option<&Hints>, what: &[Hint]) {
    if let Some(hints) = hints {
        what.iter().for_each(|hint| hints.give(*hint));
    }
}
