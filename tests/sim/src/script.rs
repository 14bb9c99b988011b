//! The script of task functions: a pure function of run, task, element and try number, so that a repeated try behaves
//! the same. Some scripted outputs are values that no column accepts.

use crate::rng::{Rng, mix};
use orch_core::plan::{Plan, TaskIdx};
use orch_spec::state::TaskState;
use orch_spec::text::MOST_DEPTH;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Script(pub u64);

/// The end of a try.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Give(Value),
    Fail,
    Fatal,
    Skip,
    Panic,
    /// Runs until it times out.
    Hang,
}

/// The behavior of a try.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    pub(crate) act: Act,
    pub(crate) takes: Duration,
    /// Number of unsuccessful pokes of a sensor before it ends with `act`.
    pub(crate) looks: u32,
}

impl Script {
    /// Returns the behavior of a try. `run` is the number of the run, not its id.
    pub(crate) fn play(self, plan: &Plan, run: u64, task: TaskIdx, index: i32, try_no: u32) -> Play {
        let spec = &plan.spec.tasks[usize::from(task)];
        // The task index would not do: it differs between versions of the DAG.
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
            // Longer than a lease, so only heartbeats keep the lease.
            19 if spec.options.timeout_ms.is_none() => rng.millis(2_000, 5_000),
            _ => rng.millis(1, 60),
        };
        let looks = if spec.kind == "sensor" { rng.below(4) as u32 } else { 0 };
        Play { act, takes, looks }
    }

    /// Returns how many pokes one poke of a sensor counts for. In some worlds it is large, so that lease numbers
    /// reach the values of weeks of poking.
    pub(crate) fn looks_at_once(self) -> i32 {
        if mix(self.0).is_multiple_of(4) { 20_000 } else { 1 }
    }

    /// Returns the state and output of an undisturbed instance, starting with try number `first`.
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

/// Returns a number, or in some cases a value that causes trouble elsewhere.
fn given(dice: u64, name: u64) -> Value {
    match dice % 16 {
        0 => json!("a\0b"),
        1 => json!({ "\0": [u64::MAX, i64::MIN, 1e308] }),
        2 => (0..MOST_DEPTH).fold(Value::Null, |inner, _| json!([inner])),
        _ => json!(name % 100),
    }
}
