//! Decides whether a run may start while other runs of its DAG are active, by the DAG's limit, its concurrency keys and
//! its overlap policy.
//!
//! Code that creates or starts runs calls this under the DAG's lock (`store/src/run/policy.rs`). For a DAG without a
//! policy, SQL statements apply the limit.

use orch_spec::{DagSpec, Overlap};
use serde_json::Value;

/// Values of a DAG's concurrency keys for one run. A key does not limit runs without a value.
pub type Keys = Vec<Option<String>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRun {
    pub keys: Keys,
    /// True for backfill runs. They count against the limits of concurrency keys but not against the limit of the DAG,
    /// and are never cancelled to make room for another run.
    pub is_backfill: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    Now,
    Wait,
    Skip,
    /// The new run may start after these runs are cancelled. The numbers are indexes in `running`.
    Cancel(Vec<usize>),
}

/// Returns true if the active runs must be loaded before a run of this DAG starts.
pub fn has_policy(spec: &DagSpec) -> bool {
    !spec.overlap.is_usual() || !spec.concurrency.is_empty()
}

/// Returns the values of the DAG's concurrency keys for a run with this conf. Missing values are taken from the
/// defaults of the params.
pub fn keys(spec: &DagSpec, conf: Option<&Value>) -> Keys {
    let empty = Value::Object(serde_json::Map::new());
    let conf = conf.unwrap_or(&empty);
    let filled = spec.params_schema.as_ref().map(|schema| orch_spec::params::with_defaults(schema, conf));
    let params = filled.as_ref().unwrap_or(conf);
    let value = |key: &str| key.split('.').try_fold(params, |value, name| value.get(name)).filter(|v| !v.is_null());
    spec.concurrency.iter().map(|c| value(&c.key).map(ToString::to_string)).collect()
}

/// Decides whether `new` may start. `running` is sorted oldest first. `most` is the DAG's limit, which does not count
/// backfill runs.
pub fn begin(spec: &DagSpec, most: usize, running: &[ActiveRun], new: &ActiveRun) -> Begin {
    let mut cancelled: Vec<usize> = Vec::new();
    let mut blocked = false;
    let mut waits = false;
    let of_dag = |run: &ActiveRun| !run.is_backfill;
    let mut limit = |most: usize, counts: &dyn Fn(&ActiveRun) -> bool| {
        let there: Vec<usize> = (0..running.len()).filter(|&at| counts(&running[at])).collect();
        let left = there.iter().filter(|at| !cancelled.contains(at)).count();
        blocked |= there.len() >= most;
        let too_many = (left + 1).saturating_sub(most);
        let free = there.iter().copied().filter(|at| !running[*at].is_backfill && !cancelled.contains(at));
        let chosen: Vec<usize> = free.take(too_many).collect();
        waits |= chosen.len() < too_many || most == 0;
        cancelled.extend(chosen);
    };
    if !new.is_backfill {
        limit(most, &of_dag);
    }
    for (place, concurrency) in spec.concurrency.iter().enumerate() {
        if let Some(Some(value)) = new.keys.get(place) {
            limit(concurrency.most as usize, &|run| run.keys.get(place) == Some(&Some(value.clone())));
        }
    }
    cancelled.sort_unstable();
    match spec.overlap {
        _ if !blocked => Begin::Now,
        // Backfill runs always wait, because past dates are not urgent.
        _ if new.is_backfill => Begin::Wait,
        Overlap::Queue => Begin::Wait,
        Overlap::Skip => Begin::Skip,
        Overlap::CancelRunning if waits => Begin::Wait,
        Overlap::CancelRunning => Begin::Cancel(cancelled),
    }
}
