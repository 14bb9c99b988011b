//! Applies the trigger rule of a task and decides whether the task, or some of its elements, run, wait or end.

use super::{Concern, Fold};
use crate::plan::{Edge, Length, PlanTask, TaskIdx};
use crate::rule::{Counts, Decision, decide, decide_setups};
use crate::run::{Elements, Missing, Run, SKIPPED};
use orch_spec::TriggerRule;
use orch_spec::state::TaskState;

impl Fold<'_> {
    pub(super) fn apply_rule(&mut self, task: TaskIdx, concern: &Concern) -> Result<(), Missing> {
        let plan = self.plan;
        let t = plan.task(task);
        let Some(len) = self.run.len(t) else {
            // Decide about the task as a whole: it is not expanded, or not mapped at all.
            if self.run.task(task) == TaskState::None {
                match self.decide(&self.run, &self.elements, t, None) {
                    Decision::Wait => {}
                    Decision::End(state) => self.end_unexpanded(task, state),
                    Decision::Run if t.map.is_some() => self.expand(task),
                    Decision::Run => self.begin(task),
                }
            }
            return Ok(());
        };
        if self.run.task(task).is_finished() {
            return Ok(());
        }
        let all = if concern.every {
            // None of its elements has started yet, so the rule has the same result for every element.
            self.decide(&self.run, &Elements::default(), t, Some(0)) != Decision::Wait
        } else {
            concern.whole && self.outside_changed(t)
        };
        for &index in &concern.anew {
            self.decide_element_now(task, index);
        }
        if all {
            if !concern.every {
                self.elements_of_all(t)?;
            }
            for index in (0..len).filter(|i| !concern.anew.contains(i)) {
                self.apply_rule_to_element(task, index)?;
            }
        } else {
            for &index in concern.elements.difference(&concern.anew) {
                self.apply_rule_to_element(task, index)?;
            }
        }
        Ok(())
    }

    fn apply_rule_to_element(&mut self, task: TaskIdx, index: i32) -> Result<(), Missing> {
        if self.undecided(task, index)? {
            self.decide_element_now(task, index);
        }
        Ok(())
    }

    fn decide_element_now(&mut self, task: TaskIdx, index: i32) {
        match self.decide(&self.run, &self.elements, self.plan.task(task), Some(index)) {
            Decision::Wait => {}
            Decision::End(state) => self.decide_element(task, index, state),
            Decision::Run => self.begin_element(task, index),
        }
    }

    /// Returns true if nothing has been decided about this element. A decision never changes, so applying the rule to
    /// the earlier state of the run shows whether there was one. If a branch or a user may have changed the element,
    /// its row is checked too.
    pub(super) fn undecided(&self, task: TaskIdx, index: i32) -> Result<bool, Missing> {
        let t = self.plan.task(task);
        let map = t.map.expect("only a mapped task has elements");
        if self.before.len(t).is_none() {
            // The task was expanded in this transition, so only the transition itself can have decided anything.
            return Ok(self.elements.get(task, index).is_none());
        }
        // A branch may have skipped the element, or a user may have changed it. The trigger rule cannot reproduce such
        // changes.
        let told = self.before.counters[map.slot + SKIPPED] > 0;
        if told || self.before.was_changed() || self.plan.domains[map.domain].joins {
            self.elements.ask(map.domain, index)?;
        }
        Ok(!self.elements.is_decided(task, index)
            && self.decide(self.before, &self.past, t, Some(index)) == Decision::Wait)
    }

    fn elements_of_all(&self, t: &PlanTask) -> Result<(), Missing> {
        self.elements.ask_all(t.map.expect("only a mapped task has elements").domain)
    }

    /// Returns true if the events changed what the upstreams outside the domain (tasks mapped together) determine. Only
    /// then can they decide elements that the events do not name.
    fn outside_changed(&self, t: &PlanTask) -> bool {
        // An upstream that ended before it was expanded counts as outside the domain, because it has the same state for
        // every element.
        let outside = |e: &&Edge| !e.same || self.run.len(self.plan.task(e.task)).is_none();
        let say = |run: &Run| {
            let mut counts = self.counts(run, &Elements::default(), t.up.iter().filter(outside), None);
            let mut setups = self.counts(run, &Elements::default(), t.setups.iter().filter(outside), None);
            let mut scope = self.counts(run, &Elements::default(), t.scope.iter().filter(outside), None);
            let done = [counts.all_done(), setups.all_done(), scope.all_done()];
            // Add one unfinished upstream, which stands for the upstreams inside the domain.
            [&mut counts, &mut setups, &mut scope].into_iter().for_each(|c| c.add(TaskState::None, 1, false));
            (decide(t.rule, &counts, 0), decide_setups(&setups, 0), done)
        };
        say(self.before) != say(&self.run)
    }

    /// Applies all rules to one instance, for the earlier or the current state of the run.
    fn decide(&self, run: &Run, elements: &Elements, t: &PlanTask, index: Option<i32>) -> Decision {
        let map_index = index.unwrap_or(-1);
        if let (None, Some(map)) = (index, t.map)
            && let Some(state) = self.list_is_lost(run, map.domain)
        {
            return Decision::End(state);
        }
        let of = |edges: &[Edge]| self.counts(run, elements, edges.iter(), index);
        if !t.setups.is_empty() && t.rule != TriggerRule::Always {
            match decide_setups(&of(&t.setups), map_index) {
                Decision::End(state) => return Decision::End(state),
                Decision::Run => {}
                Decision::Wait => {
                    // While setups are unfinished, the task's own rule may end the task but cannot start it.
                    let own = decide(t.rule, &of(&t.up), map_index);
                    return if own == Decision::Run { Decision::Wait } else { own };
                }
            }
        }
        match decide(t.rule, &of(&t.up), map_index) {
            Decision::Run if !t.scope.is_empty() && !of(&t.scope).all_done() => Decision::Wait,
            Decision::Run => self.conditions(run, elements, t, index),
            other => other,
        }
    }

    /// Returns the final state of a mapped task whose list can no longer be produced, regardless of the trigger rule
    /// (Airflow's `MappedTaskUpstreamDep`). `None` while the list is still possible.
    fn list_is_lost(&self, run: &Run, domain: usize) -> Option<TaskState> {
        let sources = self.plan.domains[domain].lengths.all().filter_map(Length::task);
        let whole = sources.filter(|&task| run.len(self.plan.task(task)).is_none_or(|len| len == 0));
        let mut lost = None;
        for task in whole {
            match run.task(task) {
                TaskState::Failed | TaskState::UpstreamFailed => return Some(TaskState::UpstreamFailed),
                TaskState::Skipped => lost = Some(TaskState::Skipped),
                _ => {}
            }
        }
        lost
    }

    /// Checks the conditions of a task. A condition is not met if the checked task has no output, and waits if the
    /// checked task has not finished.
    fn conditions(&self, run: &Run, elements: &Elements, t: &PlanTask, index: Option<i32>) -> Decision {
        for edge in &t.asks {
            let state = self.state(run, elements, *edge, index);
            if !state.is_finished() {
                return Decision::Wait;
            }
            if state != TaskState::Success {
                return Decision::End(TaskState::Skipped);
            }
        }
        Decision::Run
    }

    fn state(&self, run: &Run, elements: &Elements, edge: Edge, index: Option<i32>) -> TaskState {
        match index {
            Some(index) if edge.same && run.len(self.plan.task(edge.task)).is_some() => {
                elements.get(edge.task, index).unwrap_or(TaskState::None)
            }
            _ => run.task(edge.task),
        }
    }

    fn counts<'e>(
        &self,
        run: &Run,
        elements: &Elements,
        edges: impl Iterator<Item = &'e Edge>,
        index: Option<i32>,
    ) -> Counts {
        let mut counts = Counts::default();
        for edge in edges {
            match index {
                Some(_) if edge.same => {
                    counts.add(self.state(run, elements, *edge, index), 1, self.plan.task(edge.task).is_setup);
                }
                _ => run.count(self.plan, edge.task, &mut counts),
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Model;
    use crate::plan::Plan;
    use crate::transition::Outcome;
    use orch_spec::state::{RunState, TaskState};
    use serde_json::json;
    use std::sync::Arc;

    /// Regression test, found by replaying histories: elements that had already finished were never checked again.
    #[test]
    fn an_upstream_of_the_same_map_that_ends_before_it_has_elements_is_heard_by_every_element() {
        let mapped = |id: &str, after: &[&str], rule: &str| json!({ "task_id": id, "kind": "rust", "after": after, "trigger_rule": rule, "group_id": "g" });
        let spec = json!({ "dag_id": "d",
            "groups": [{ "group_id": "g", "map": { "each": { "value": [1, 2] } } }],
            "tasks": [
                { "task_id": "late", "kind": "rust" },
                mapped("g.quick", &[], "all_success"),
                mapped("g.never", &["late"], "all_success"),
                mapped("g.join", &["g.quick", "g.never"], "all_done"),
            ] });
        let plan = Arc::new(Plan::new(Arc::new(serde_json::from_value(spec).expect("a spec"))).expect("a plan"));
        let mut model = Model::start(plan);
        let success = || Outcome::Success { list_len: None, skip: Vec::new() };
        model.finish(1, 0, success());
        model.finish(1, 1, success());
        model.finish(0, -1, Outcome::Failed);
        assert_eq!(model.run.state, RunState::Running, "{model:?}");
        model.finish(3, 0, success());
        model.finish(3, 1, success());
        assert_eq!((model.run.state, model.run.task(3)), (RunState::Success, TaskState::Success));
    }
}
