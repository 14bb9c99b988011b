//! What bodies do, and what they say that no column takes as it is: a pure function of run, task, element and try, so that a try that is done again does the same again.

use crate::rng::{Rng, mix};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_spec::text::MOST_DEPTH;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Script(pub u64);

/// How a try ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Give(Value),
    Fail,
    Fatal,
    Skip,
    Panic,
    /// Runs until its timeout.
    Hang,
}

/// What a try does.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    pub(crate) act: Act,
    pub(crate) takes: Duration,
    /// How often a sensor sees nothing before it ends so.
    pub(crate) looks: u32,
}

impl Script {
    /// `run` is its number, not its id.
    pub(crate) fn play(self, plan: &Plan, run: u64, task: TaskIdx, index: i32, try_no: u32) -> Play {
        let spec = &plan.spec.tasks[usize::from(task)];
        // Not its place, which is another in another version.
        let name = spec.task_id.bytes().fold(0_u64, |name, byte| name.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let place = (run << 48) ^ (u64::from(index as u32) << 8) ^ u64::from(try_no);
        let mut rng = Rng::new(mix(self.0 ^ mix(place) ^ mix(name)));
        let act = match rng.below(40) {
            0..=4 => Act::Fail,
            5 => Act::Fatal,
            6 | 7 => Act::Skip,
            8 => Act::Panic,
            9..=15 if spec.options.timeout_ms.is_some() => Act::Hang,
            _ if plan.list_slots.contains_key(&task) => Act::Give(json!(vec![0; rng.below(5)])),
            _ if spec.kind == "short_circuit" => Act::Give(json!(rng.chance(600))),
            _ if rng.chance(300) => Act::Give(Value::Null),
            _ => Act::Give(given(mix(place ^ name), name)),
        };
        let takes = match rng.below(20) {
            0..=7 => Duration::ZERO,
            16..=18 if spec.options.timeout_ms.is_none() => rng.millis(100, 900),
            // Longer than a lease: only a heartbeat keeps it alive.
            19 if spec.options.timeout_ms.is_none() => rng.millis(2_000, 5_000),
            _ => rng.millis(1, 60),
        };
        let looks = if spec.kind == "sensor" { rng.below(4) as u32 } else { 0 };
        Play { act, takes, looks }
    }

    /// How many looks of a sensor one look counts for: in some worlds leases get the numbers that weeks of looks would give
    /// them.
    pub(crate) fn looks_at_once(self) -> i32 {
        if mix(self.0).is_multiple_of(4) { 20_000 } else { 1 }
    }

    /// How an instance ends when nothing disturbs it, and what it gives, from its try number `first` on.
    pub(crate) fn end(self, plan: &Plan, run: u64, task: TaskIdx, index: i32, first: u32) -> (TaskState, Value) {
        for try_no in first..=first + plan.task(task).retries {
            match self.play(plan, run, task, index, try_no).act {
                Act::Give(value) => return (TaskState::Success, value),
                Act::Skip => return (TaskState::Skipped, Value::Null),
                Act::Fatal => return (TaskState::Failed, Value::Null),
                Act::Fail | Act::Panic | Act::Hang => {}
            }
        }
        (TaskState::Failed, Value::Null)
    }
}

/// Mostly a number; now and then what makes trouble elsewhere.
fn given(dice: u64, name: u64) -> Value {
    match dice % 16 {
        0 => json!("a\0b"),
        1 => json!({ "\0": [u64::MAX, i64::MIN, 1e308] }),
        2 => (0..MOST_DEPTH).fold(Value::Null, |inner, _| json!([inner])),
        _ => json!(name % 100),
    }
}
