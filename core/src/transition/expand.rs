//! A mapped task learns how many elements it has.

use super::Fold;
use crate::plan::{Length, TaskIdx};
use crate::run::{DomainLen, LEN, NEXT};
use orch_spec::state::TaskState;

impl Fold<'_> {
    /// Its rule lets it run: its elements come to be, and those of the tasks that follow it element by element.
    pub(super) fn expand(&mut self, task: TaskIdx) {
        let plan = self.plan;
        let map = plan.task(task).map.expect("only a mapped task is expanded");
        match self.run.domain_len(plan, &plan.domains[map.domain].lengths) {
            DomainLen::Known(len) if len > 0 => {
                self.run.counters[map.slot + LEN] = len;
                self.run.counters[map.slot + NEXT] = 0;
                self.run.ledger[usize::from(task)] = TaskState::Queued.code();
                self.refill.insert(task);
                self.expand_followers(task, len);
            }
            DomainLen::Known(_) => {
                self.run.counters[map.slot + LEN] = 0;
                self.decide_whole(task, TaskState::Skipped);
            }
            // It may run, but there is nothing to run for: as Airflow has it.
            DomainLen::Unknown => self.decide_whole(task, TaskState::UpstreamFailed),
            DomainLen::Unequal => self.decide_whole(task, TaskState::Failed),
        }
    }

    /// It will not run. Over a list that stands in the DAG it has its elements all the same, each ending so; else there is
    /// one instance to say it of.
    pub(super) fn end_unexpanded(&mut self, task: TaskIdx, state: TaskState) {
        let plan = self.plan;
        let literal = |d: usize| plan.domains[d].lengths.all().all(|length| matches!(length, Length::Known(_)));
        let map = plan.task(task).map.filter(|map| literal(map.domain));
        let len = map.map(|map| self.run.domain_len(plan, &plan.domains[map.domain].lengths));
        let (Some(map), Some(DomainLen::Known(len @ 1..))) = (map, len) else {
            self.decide_whole(task, state);
            return;
        };
        self.run.counters[map.slot + LEN] = len;
        self.run.counters[map.slot + NEXT] = len;
        self.run.ledger[usize::from(task)] = TaskState::Queued.code();
        self.expand_followers(task, len);
        (0..len).for_each(|index| self.decide_element(task, index, state));
    }

    fn expand_followers(&mut self, task: TaskIdx, len: i32) {
        let plan = self.plan;
        for edge in plan.task(task).down.iter().filter(|e| e.same) {
            let follower = plan.task(edge.task);
            if self.run.len(follower).is_some() || self.run.task(edge.task) != TaskState::None {
                continue;
            }
            let slot = follower.map.expect("who follows an element is mapped").slot;
            self.run.counters[slot + LEN] = len;
            self.run.counters[slot + NEXT] = len; // its elements start when those they follow end, not in order
            self.run.ledger[usize::from(edge.task)] = TaskState::Queued.code();
            self.concerned.entry(edge.task).or_default().every = true;
            self.expand_followers(edge.task, len);
        }
    }
}
