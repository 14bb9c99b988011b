//! Checks of limits, both for the rows and for the task functions that really run.

use super::Books;
use crate::database::tables::{Key, Tables};
use orch_core::gates::{Gates, Of};
use orch_spec::state::TaskState;
use std::collections::BTreeMap;

/// The slots that an instance takes of a limit, and the maximum of that limit.
#[derive(Debug, Clone)]
pub(crate) struct Takes {
    pub(crate) limit: String,
    pub(crate) slots: i64,
    pub(crate) most: i64,
}

impl Takes {
    pub(crate) fn of(gates: &Gates, tables: &Tables) -> Vec<Takes> {
        let most = |of: &Of| match of {
            Of::Pool(pool) => tables.pools.get(pool).copied(),
            Of::Limit { most, .. } | Of::Task { most, .. } => Some(*most),
            Of::Rate { .. } => None,
        };
        let takes = gates.needs(None).into_iter().filter_map(|need| {
            Some(Takes { most: i64::from(most(&need.of)?), slots: i64::from(need.slots), limit: need.limit })
        });
        takes.collect()
    }
}

/// Returns a message about the first limit that is exceeded.
pub(super) fn exceeded<'a>(all: impl IntoIterator<Item = &'a Takes>) -> Option<String> {
    let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for takes in all {
        let sum = sums.entry(&takes.limit).or_insert((0, takes.most));
        sum.0 += takes.slots;
    }
    let over = sums.into_iter().find(|(_, (taken, most))| taken > most);
    over.map(|(limit, (taken, most))| format!("{taken} of {most} are taken of {limit}"))
}

impl Books {
    /// Checks that claimable, running and stopping instances together respect every limit.
    pub(crate) fn check_limits(&mut self, tables: &Tables) {
        if self.violation.is_some() || tables.pools.is_empty() {
            return;
        }
        let runs = |state: TaskState| matches!(state, TaskState::Running | TaskState::Restarting);
        let claimable = tables.ready.values().filter(|(_, t)| t.queue > 0).map(|(_, t)| t.key);
        let running = tables.instances.iter().filter(|(_, i)| runs(i.state)).map(|(key, _)| *key);
        let takes: Vec<Takes> = claimable.chain(running).flat_map(|key| takes_of(tables, key)).collect();
        if let Some(what) = exceeded(&takes) {
            self.fail(format!("{what} by what runs or may be claimed"));
        }
    }
}

/// Returns the slots that an instance takes while it is admitted.
pub(crate) fn takes_of(tables: &Tables, key: Key) -> Vec<Takes> {
    let run = tables.runs.get(&key.0);
    run.map_or_else(Vec::new, |run| Takes::of(&run.version.plan.task(key.1).gates, tables))
}
