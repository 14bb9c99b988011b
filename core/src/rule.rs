//! The 13 trigger rules: the states of a task's upstreams determine whether the task runs, waits or ends.
//!
//! The rules equal those of Airflow 3.3, including eager decisions. Tests compare them with tables recorded from
//! Airflow's code.

use orch_spec::TriggerRule;
use orch_spec::state::TaskState;

/// Number of upstream instances in each state. A mapped upstream counts once per element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: i32,
    pub success: i32,
    pub skipped: i32,
    pub failed: i32,
    pub upstream_failed: i32,
    pub removed: i32,
    /// Number of setup tasks among the counted upstreams.
    pub setups: i32,
    pub setups_success: i32,
    pub setups_skipped: i32,
}

impl Counts {
    /// Adds `many` upstream instances in `state`.
    pub fn add(&mut self, state: TaskState, many: i32, setup: bool) {
        self.total += many;
        match state {
            TaskState::Success => self.success += many,
            TaskState::Skipped => self.skipped += many,
            TaskState::Failed => self.failed += many,
            TaskState::UpstreamFailed => self.upstream_failed += many,
            TaskState::Removed => self.removed += many,
            _ => {}
        }
        if setup {
            self.setups += many;
            match state {
                TaskState::Success => self.setups_success += many,
                TaskState::Skipped => self.setups_skipped += many,
                _ => {}
            }
        }
    }

    pub fn done(&self) -> i32 {
        self.success + self.skipped + self.failed + self.upstream_failed + self.removed
    }

    pub fn all_done(&self) -> bool {
        self.done() >= self.total
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Wait,
    Run,
    /// The instance will not run. The state is `skipped`, `upstream_failed` or `removed`.
    End(TaskState),
}

use Decision::{End, Run, Wait};
use TaskState::{Removed, Skipped, UpstreamFailed};

/// Applies a trigger rule. `map_index` is −1 if the task is not mapped. Once the decision is not `Wait`, it never
/// returns to `Wait` when more upstreams finish.
pub fn decide(rule: TriggerRule, c: &Counts, map_index: i32) -> Decision {
    let done = c.all_done();
    let bad = c.failed + c.upstream_failed;
    let run_if = |ready: bool| if ready { Run } else { Wait };
    if c.total == 0 {
        return Run;
    }
    match rule {
        TriggerRule::Always => Run,
        TriggerRule::AllSuccess if bad > 0 => End(UpstreamFailed),
        TriggerRule::AllSuccess if c.skipped > 0 => End(Skipped),
        TriggerRule::AllSuccess if c.removed > 0 && c.success > 0 && map_index >= c.success => End(Removed),
        TriggerRule::AllSuccess => run_if(c.success + c.removed >= c.total),
        TriggerRule::AllFailed if c.success + c.skipped > 0 => End(Skipped),
        TriggerRule::AllFailed => run_if(bad + c.removed >= c.total),
        TriggerRule::AllDone => run_if(done),
        TriggerRule::OneSuccess if c.success > 0 => Run,
        TriggerRule::OneSuccess if done => End(if c.done() == c.skipped { Skipped } else { UpstreamFailed }),
        TriggerRule::OneSuccess => Wait,
        TriggerRule::OneFailed if bad > 0 => Run,
        TriggerRule::OneFailed if done => End(Skipped),
        TriggerRule::OneFailed => Wait,
        TriggerRule::OneDone if c.success + c.failed > 0 => Run,
        TriggerRule::OneDone if done => End(Skipped),
        TriggerRule::OneDone => Wait,
        TriggerRule::NoneFailed if bad > 0 => End(UpstreamFailed),
        TriggerRule::NoneFailed => run_if(c.success + c.skipped + c.removed >= c.total),
        TriggerRule::NoneFailedMinOneSuccess if bad > 0 => End(UpstreamFailed),
        TriggerRule::NoneFailedMinOneSuccess if c.skipped == c.total => End(Skipped),
        TriggerRule::NoneFailedMinOneSuccess if done && c.success == 0 => End(UpstreamFailed),
        TriggerRule::NoneFailedMinOneSuccess => run_if(done && c.success > 0),
        TriggerRule::NoneSkipped if c.skipped > 0 => End(Skipped),
        TriggerRule::NoneSkipped => run_if(done),
        TriggerRule::AllSkipped if c.success + bad > 0 => End(Skipped),
        TriggerRule::AllSkipped => run_if(c.skipped >= c.total),
        TriggerRule::AllDoneMinOneSuccess if c.skipped > 0 => End(Skipped),
        TriggerRule::AllDoneMinOneSuccess if done && c.success == 0 => End(UpstreamFailed),
        TriggerRule::AllDoneMinOneSuccess => run_if(done),
        TriggerRule::AllDoneSetupSuccess if !done => Wait,
        TriggerRule::AllDoneSetupSuccess if c.setups > 0 && c.setups_skipped >= c.setups => End(Skipped),
        TriggerRule::AllDoneSetupSuccess if c.setups > 0 && c.setups_success == 0 => End(UpstreamFailed),
        TriggerRule::AllDoneSetupSuccess => Run,
    }
}

/// Decides by the setups that a task needs without naming them as upstreams. The caller applies this before the trigger
/// rule.
pub fn decide_setups(c: &Counts, map_index: i32) -> Decision {
    if c.failed + c.upstream_failed > 0 {
        End(UpstreamFailed)
    } else if c.skipped > 0 {
        End(Skipped)
    } else if c.removed > 0 && c.success > 0 && map_index >= c.success {
        End(Removed)
    } else if c.success + if map_index > -1 { c.removed } else { 0 } >= c.total {
        Run
    } else {
        Wait
    }
}
