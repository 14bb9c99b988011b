//! Pages of a run's instances by offset, with the total count, for the REST API.

use super::{
    InstanceFilter, InstanceRow, MOST_INSTANCES, Places, counts_when_over, has_a_row, ledger, list_instances,
    state_counts,
};
use crate::{
    StoreResult, boxed, narrow,
    version::{Version, Versions},
};
use orch_spec::state::TaskState;
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A page of the instances that match a filter.
#[derive(Debug, Clone)]
pub struct InstancePage {
    pub instances: Vec<InstanceRow>,
    /// Number of instances that match the filter. A lower bound if `is_limited` is set.
    pub total: usize,
    /// True if counting stopped at [`MAX_COUNTED`].
    pub is_limited: bool,
    /// The DAG version of the run.
    pub version: Arc<Version>,
}

/// Maximum number of instances that are read one by one to count them. Instances in states that always have a row are
/// counted by one statement.
const MAX_COUNTED: usize = 20_000;

/// Returns at most `most` instances in DAG order after skipping `skip`. `None` if the run does not exist.
#[boxed]
pub async fn page_of_instances(
    db: &mut PgConnection,
    versions: &mut Versions,
    run: Uuid,
    filter: &InstanceFilter,
    (skip, most): (usize, usize),
) -> StoreResult<Option<InstancePage>> {
    let Some(ledger) = ledger(db, versions, run).await? else { return Ok(None) };
    let (version, most) = (ledger.version.clone(), most.min(MOST_INSTANCES));
    if filter.states.is_empty() {
        let tasks = filter.task_ids.as_ref();
        let tasks: Option<Vec<_>> = tasks.map(|ids| ids.iter().filter_map(|id| version.plan.index_of(id)).collect());
        let places = || Places::new(&ledger, tasks.as_deref(), filter);
        let total = places().count();
        if skip >= total || most == 0 {
            return Ok(Some(InstancePage { instances: Vec::new(), total, is_limited: false, version }));
        }
        let after = skip.checked_sub(1).and_then(|last| places().nth(last)).or(filter.after);
        let rest = InstanceFilter { after, ..filter.clone() };
        let instances = list_instances(db, versions, run, &rest, most).await?.unwrap_or_default();
        return Ok(Some(InstancePage { instances, total, is_limited: false, version }));
    }
    // The ledger of a finished run contains all states, so no rows are read for states that it does not contain.
    let nobody_in =
        |state: &TaskState, counts: &BTreeMap<_, _>| *state != TaskState::None && !counts.contains_key(state);
    if counts_when_over(&ledger, None).is_some_and(|counts| filter.states.iter().all(|state| nobody_in(state, &counts)))
    {
        return Ok(Some(InstancePage { instances: Vec::new(), total: 0, is_limited: false, version }));
    }
    let countable = filter.map_index.is_none() && filter.after.is_none() && filter.states.iter().all(|&s| has_a_row(s));
    let (mut instances, mut seen, mut rest, mut is_limited) = (Vec::new(), 0, filter.clone(), false);
    let total = loop {
        let next = list_instances(db, versions, run, &rest, MOST_INSTANCES).await?.unwrap_or_default();
        let full = next.len() == MOST_INSTANCES;
        rest.after = next.last().map(|row| (row.task, row.map_index));
        for row in next {
            if seen >= skip && instances.len() < most {
                instances.push(row);
            }
            seen += 1;
        }
        if !full {
            break seen;
        }
        if countable && instances.len() == most {
            let wanted = |task| match &filter.task_ids {
                Some(ids) => ids.iter().any(|id| version.plan.index_of(id) == Some(task)),
                None => true,
            };
            let counts = state_counts(db, run).await?;
            let counted = counts.into_iter().filter(|(task, state, _)| wanted(*task) && filter.states.contains(state));
            break counted.map(|(_, _, count)| narrow::size(count)).sum();
        }
        if instances.len() == most && seen >= MAX_COUNTED {
            is_limited = true;
            break seen;
        }
    };
    Ok(Some(InstancePage { instances, total, is_limited, version }))
}
