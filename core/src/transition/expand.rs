//! Expands mapped tasks into elements.

use super::Fold;
use crate::plan::{Length, TaskIdx};
use crate::run::{DomainLen, LEN, NEXT};
use orch_spec::state::TaskState;

impl Fold<'_> {
    /// Expands a mapped task whose rule lets it run, and the tasks that are mapped over its elements.
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
            // The task may run, but a list that it is mapped over does not exist. Airflow has the same result.
            DomainLen::Unknown => self.decide_whole(task, TaskState::UpstreamFailed),
            DomainLen::Unequal => {
                let name = self.plan.task_id(task);
                self.fail_whole(task, format!("the lists that `{name}` is mapped over have different lengths"));
            }
            DomainLen::TooLong(len) => {
                let (name, max) = (self.plan.task_id(task), thousands(i64::from(self.plan.max_map_elements)));
                let len = len.map_or_else(|| format!("more than {}", thousands(i64::MAX)), thousands);
                let hint = "map over batches of the elements, or raise the setting `max_map_elements`";
                self.fail_whole(
                    task,
                    format!("the map of `{name}` has {len} elements; the maximum is {max}\nhint: {hint}"),
                );
            }
        }
    }

    fn fail_whole(&mut self, task: TaskIdx, reason: String) {
        self.effects.reasons.push((task, reason));
        self.decide_whole(task, TaskState::Failed);
    }

    /// Ends a mapped task that will not run. If its list is a literal in the DAG, each element ends separately
    /// with `state`; otherwise the task ends as a single instance.
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
            self.run.counters[slot + NEXT] = len; // its elements start when the elements they follow end, not in order
            self.run.ledger[usize::from(edge.task)] = TaskState::Queued.code();
            self.concerned.entry(edge.task).or_default().every = true;
            self.expand_followers(edge.task, len);
        }
    }
}

fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::thousands;
    use crate::plan::{MAX_MAP_ELEMENTS, Plan};
    use crate::run::Elements;
    use crate::transition::{Effects, Event, Outcome, fold, start};
    use orch_spec::state::{RunState, TaskState};
    use serde_json::json;
    use std::sync::Arc;

    fn plan(map: &serde_json::Value) -> Plan {
        let spec = json!({ "dag_id": "d", "tasks": [
            { "task_id": "a", "kind": "rust" }, { "task_id": "b", "kind": "rust" }, { "task_id": "c", "kind": "rust" },
            { "task_id": "t", "kind": "rust", "map": map },
        ] });
        Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan")
    }

    /// Returns the state of `t` and the effects after `a`, `b` and `c` returned lists of these lengths.
    fn expanded(plan: &Plan, lengths: [i32; 3]) -> (TaskState, Effects) {
        let finished = |(task, len): (u16, i32)| Event::Finished {
            task,
            index: -1,
            outcome: Outcome::Success { list_len: Some(len), skip: Vec::new() },
        };
        let events: Vec<Event> = (0..).zip(lengths).map(finished).collect();
        let (run, effects) = fold(plan, &start(plan).0, &events, &Elements::default()).expect("no element is missing");
        assert_eq!(run.state == RunState::Failed, run.task(3) == TaskState::Failed);
        (run.task(3), effects)
    }

    #[test]
    fn a_map_that_is_too_long_fails_with_its_length_and_the_maximum() {
        let cross = plan(&json!({ "cross": [{ "output": "a" }, { "output": "b" }, { "output": "c" }] }));
        let (state, effects) = expanded(&cross, [1_000; 3]);
        assert_eq!((state, effects.ready.len()), (TaskState::Failed, 0));
        let reason = "the map of `t` has 1,000,000,000 elements; the maximum is 1,000,000\nhint: ";
        assert!(effects.reasons[0].1.starts_with(reason), "{:?}", effects.reasons);
        // 2^93 exceeds `i64`, and 2^32 is 0 as an `i32`.
        let (state, effects) = expanded(&cross, [i32::MAX; 3]);
        assert_eq!(state, TaskState::Failed);
        assert!(effects.reasons[0].1.contains("more than 9,223,372,036,854,775,807 elements"), "{:?}", effects.reasons);
        assert_eq!(expanded(&cross, [1 << 16, 1 << 16, 1]).0, TaskState::Failed);
        assert_eq!(expanded(&cross, [i32::MAX, i32::MAX, 0]).0, TaskState::Skipped);
        assert_eq!(expanded(&cross, [1_000, 1_000, 1]).0, TaskState::Queued);
        let list = plan(&json!({ "each": { "output": "a" } }));
        assert_eq!(expanded(&list, [MAX_MAP_ELEMENTS, 1, 1]).0, TaskState::Queued);
        assert_eq!(expanded(&list, [MAX_MAP_ELEMENTS + 1, 1, 1]).0, TaskState::Failed);
        let mut few = list;
        few.max_map_elements = 10;
        assert_eq!(expanded(&few, [10, 1, 1]).0, TaskState::Queued);
        assert!(expanded(&few, [11, 1, 1]).1.reasons[0].1.contains("has 11 elements; the maximum is 10"));
    }

    #[test]
    fn lists_of_different_lengths_fail_with_that_reason() {
        let zip = plan(&json!({ "zip": [{ "output": "a" }, { "output": "b" }] }));
        let (state, effects) = expanded(&zip, [2, 3, 1]);
        let reason = "the lists that `t` is mapped over have different lengths";
        assert_eq!((state, effects.reasons), (TaskState::Failed, vec![(3, reason.to_string())]));
    }

    #[test]
    fn numbers_have_a_comma_before_every_third_digit() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
