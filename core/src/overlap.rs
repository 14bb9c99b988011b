//! What becomes of a run that would begin while others run: by the limit of its DAG, by the value of its concurrency
//! keys, and by what the DAG says of overlaps.
//!
//! Asked under the DAG's lock by whoever creates or begins runs (`store/src/run/policy.rs`). A DAG that says nothing of
//! this is not asked about: its limit is in the statements themselves.

use orch_spec::{DagSpec, Overlap};
use serde_json::Value;

/// The values of a DAG's concurrency keys; what has none is not limited.
pub type Keys = Vec<Option<String>>;

/// A run that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRun {
    pub keys: Keys,
    /// It counts for the keys, but not for the limit of the DAG, and nobody cancels it for another one.
    pub is_backfill: bool,
}

/// What becomes of a run that would begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    Now,
    Wait,
    Skip,
    /// These are cancelled first, by their places in the list.
    Cancel(Vec<usize>),
}

/// Somebody has to look at what runs before a run of this DAG begins.
pub fn has_policy(spec: &DagSpec) -> bool {
    !spec.overlap.is_usual() || !spec.concurrency.is_empty()
}

/// The values of a conf, with the params' defaults.
pub fn keys(spec: &DagSpec, conf: Option<&Value>) -> Keys {
    let empty = Value::Object(serde_json::Map::new());
    let conf = conf.unwrap_or(&empty);
    let filled = spec.params_schema.as_ref().map(|schema| orch_spec::params::with_defaults(schema, conf));
    let params = filled.as_ref().unwrap_or(conf);
    let value = |key: &str| key.split('.').try_fold(params, |value, name| value.get(name)).filter(|v| !v.is_null());
    spec.concurrency.iter().map(|c| value(&c.key).map(ToString::to_string)).collect()
}

/// `running`: oldest first. `most`: of the DAG, backfills aside.
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
        // Nobody is in a hurry for the past.
        _ if new.is_backfill => Begin::Wait,
        Overlap::Queue => Begin::Wait,
        Overlap::Skip => Begin::Skip,
        Overlap::CancelRunning if waits => Begin::Wait,
        Overlap::CancelRunning => Begin::Cancel(cancelled),
    }
}
