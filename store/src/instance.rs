//! Task instances of a run, as users see them. Instances that run or ran have a row. Waiting ones have a row in
//! `ready`, `waiting` or `held`. Undecided ones have no row: they are derived from the run's ledger and the structure
//! of the DAG.

mod of_runs;
mod page;
mod tries;

pub use of_runs::{InstanceKey, RunInstances, count_instances, instances_of_runs, some_instances};
pub use page::{InstancePage, page_of_instances};
pub use tries::{ElementFailure, OldTry, TryRow, first_element_failure, old_tries, tries};

use crate::{
    StoreResult, boxed, narrow, run,
    version::{Version, Versions},
};
use chrono::{DateTime, Utc};
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::Run;
use orch_spec::state::{RunState, TaskState};
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRow {
    /// Id of the current attempt. If there is no attempt, an id that is derived from the instance.
    pub id: Uuid,
    pub task: TaskIdx,
    pub task_id: String,
    /// −1 if the task is not mapped, or not expanded yet.
    pub map_index: i32,
    /// `TaskState::None` if the instance has no state yet.
    pub state: TaskState,
    /// Number of the current attempt. It is 0 before the first attempt.
    pub try_no: i16,
    pub max_tries: i16,
    pub lease_no: i32,
    pub lost_no: i16,
    pub worker: Option<i32>,
    pub hostname: Option<String>,
    pub pid: Option<i32>,
    pub queued_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Time at which the instance continues, if it waits for a time.
    pub wake_at: Option<DateTime<Utc>>,
}

impl InstanceRow {
    /// Returns an instance without attempts.
    pub fn untried(id: Uuid, (task, task_id, map_index): (TaskIdx, String, i32), state: TaskState) -> InstanceRow {
        InstanceRow {
            id,
            task,
            task_id,
            map_index,
            state,
            try_no: 0,
            max_tries: 0,
            lease_no: 0,
            lost_no: 0,
            worker: None,
            hostname: None,
            pid: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
            wake_at: None,
        }
    }
}

/// The ledger of a run (the states of its tasks), with the run's DAG version.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub version: Arc<Version>,
    pub rev: i32,
    pub run: Run,
    /// False if the run is parked, because its ledger cannot be read. `run` then contains only the state of the run.
    is_readable: bool,
}

/// Filter for instances. A field that is not set matches all.
#[derive(Debug, Clone, Default)]
pub struct InstanceFilter {
    pub states: Vec<TaskState>,
    pub task_ids: Option<Vec<String>>,
    pub map_index: Option<i32>,
    /// Starts after this instance, in DAG order.
    pub after: Option<(TaskIdx, i32)>,
}

/// Maximum number of instances in a response.
pub const MOST_INSTANCES: usize = 1_000;

/// Returns the ledger of a run: the state of each task, and the number of its elements in each state.
#[boxed]
pub async fn ledger(db: &mut PgConnection, versions: &mut Versions, run: Uuid) -> StoreResult<Option<Ledger>> {
    Ok(ledgers(db, versions, &[run]).await?.pop().map(|(_, ledger)| ledger))
}

/// Returns the ledgers of many runs, in the order of the run ids.
#[boxed]
pub async fn ledgers(
    db: &mut PgConnection,
    versions: &mut Versions,
    runs: &[Uuid],
) -> StoreResult<Vec<(Uuid, Ledger)>> {
    let rows = sqlx::query!(
        r#"select id, version, rev, state::text as "state!", ledger_format, ledger, counters
        from dag_run where id = any($1) order by id"#,
        runs
    )
    .fetch_all(&mut *db)
    .await?;
    versions.warm(db, &rows.iter().map(|row| row.version).collect::<Vec<_>>()).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let state: RunState = run::word(&row.state)?;
        let version = versions.get(db, row.version).await?;
        let mut run = Run { state, ledger: row.ledger, counters: row.counters };
        let is_readable = run.check(row.ledger_format, &version.plan).is_ok();
        if !is_readable {
            // The ledger cannot be read, so the run is parked with a reason. A list must still show the other runs.
            run = Run { state, ..Run::new(&version.plan) };
        }
        found.push((row.id, Ledger { version, rev: row.rev, run, is_readable }));
    }
    Ok(found)
}

/// Returns at most `most` instances of a run in the order of its DAG, or `None` if the run does not exist.
#[boxed]
pub async fn list_instances(
    db: &mut PgConnection,
    versions: &mut Versions,
    run: Uuid,
    filter: &InstanceFilter,
    most: usize,
) -> StoreResult<Option<Vec<InstanceRow>>> {
    let Some(ledger) = ledger(db, versions, run).await? else { return Ok(None) };
    let most = most.clamp(1, MOST_INSTANCES);
    let plan = &ledger.version.plan;
    let tasks = filter.task_ids.as_ref().map(|ids| ids.iter().filter_map(|id| plan.index_of(id)).collect::<Vec<_>>());
    if !filter.states.is_empty() && filter.states.iter().all(|&s| has_a_row(s)) {
        let range = Range { from: filter.after, to: None, tasks: tasks.as_deref(), most };
        return Ok(Some(rows(db, plan, run, &range, filter).await?));
    }
    let mut found = Vec::new();
    let mut places = Places::new(&ledger, tasks.as_deref(), filter);
    while found.len() < most {
        let page: Vec<(TaskIdx, i32)> = places.by_ref().take(MOST_INSTANCES).collect();
        let (Some(&first), Some(&last)) = (page.first(), page.last()) else { break };
        // No limit, because there may be additional rows of cleared instances that no longer exist.
        let most = isize::MAX.unsigned_abs();
        let range = Range { from: Some((first.0, first.1 - 1)), to: Some(last), tasks: tasks.as_deref(), most };
        let any_state = InstanceFilter { map_index: filter.map_index, ..Default::default() };
        let known = rows(db, plan, run, &range, &any_state).await?;
        let mut known: BTreeMap<_, _> = known.into_iter().map(|row| ((row.task, row.map_index), row)).collect();
        for place in page {
            let row = known.remove(&place).unwrap_or_else(|| made_up(&ledger, run, place));
            if filter.states.is_empty() || filter.states.contains(&row.state) {
                found.push(row);
            }
        }
    }
    found.truncate(most);
    Ok(Some(found))
}

/// Returns an instance, or `None` if the run, task or index does not exist.
#[boxed]
pub async fn get_instance(
    db: &mut PgConnection,
    versions: &mut Versions,
    run: Uuid,
    task_id: &str,
    map_index: i32,
) -> StoreResult<Option<InstanceRow>> {
    let filter =
        InstanceFilter { task_ids: Some(vec![task_id.into()]), map_index: Some(map_index), ..Default::default() };
    Ok(list_instances(db, versions, run, &filter, 1).await?.and_then(|mut found| found.pop()))
}

/// Counts the instances of a run, or of one of its tasks, by state. For a finished run, it reads only the ledger and no
/// rows of instances.
#[boxed]
pub async fn count_states(
    db: &mut PgConnection,
    run: Uuid,
    ledger: &Ledger,
    task: Option<TaskIdx>,
) -> StoreResult<BTreeMap<TaskState, i64>> {
    if let Some(counts) = counts_when_over(ledger, task) {
        return Ok(counts);
    }
    let mut counts = BTreeMap::new();
    for (at, state, count) in state_counts(db, run).await? {
        if task.is_none_or(|task| task == at) {
            *counts.entry(state).or_default() += count;
        }
    }
    Ok(counts)
}

/// Returns the counts in the ledger of a finished run. `None` if the run has not finished or its ledger cannot be read.
pub(crate) fn counts_when_over(ledger: &Ledger, only: Option<TaskIdx>) -> Option<BTreeMap<TaskState, i64>> {
    let (run, plan) = (&ledger.run, &ledger.version.plan);
    if !ledger.is_readable || !run.state.is_finished() || run.in_flight() > 0 {
        return None;
    }
    let mut counts: BTreeMap<TaskState, i64> = BTreeMap::new();
    for (task, index) in plan.tasks.iter().zip(0..).filter(|(_, index)| only.is_none_or(|only| only == *index)) {
        match run.element_counts(task).filter(|_| run.len(task) != Some(0)) {
            Some(elements) => elements.into_iter().for_each(|(state, count)| {
                *counts.entry(state).or_default() += i64::from(count);
            }),
            None => *counts.entry(run.task(index)).or_default() += 1,
        }
    }
    counts.retain(|state, count| *state != TaskState::None && *count > 0);
    Some(counts)
}

/// Counts the rows of instances by task and state. Instances without a row are counted only in the run's ledger.
#[boxed]
pub async fn state_counts(db: &mut PgConnection, run: Uuid) -> StoreResult<Vec<(TaskIdx, TaskState, i64)>> {
    let rows = sqlx::query!(
        r#"select task as "task!", state::text as "state!", count(*) as "count!" from (
          select task, state from task_instance where run = $1 and state in ('running', 'restarting', 'success', 'failed',
            'skipped', 'upstream_failed', 'removed')
          union all select task, (case when queue > 0 then 'queued' else 'scheduled' end)::task_state from ready where run = $1
          union all select task, state from waiting where run = $1
          union all select task, 'scheduled' from held where run = $1) i
        group by task, state order by task, state"#,
        run
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok((row.task as TaskIdx, run::word(&row.state)?, row.count))).collect()
}

/// Returns one state per task for a grid of unfinished runs, from rows. If a task has several elements, it is the state
/// that needs most attention.
#[boxed]
pub async fn loudest_states(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<Vec<(Uuid, TaskIdx, TaskState)>> {
    let rows = sqlx::query!(
        r#"select distinct on (run, task) run as "run!", task as "task!", state::text as "state!" from (
          select run, task, state from task_instance where run = any($1) and state in ('running', 'restarting', 'failed',
            'upstream_failed')
          union all select run, task, (case when queue > 0 then 'queued' else 'scheduled' end)::task_state from ready where run = any($1)
          union all select run, task, state from waiting where run = any($1)
          union all select run, task, 'scheduled' from held where run = any($1)) i
        order by run, task, array_position(array['failed', 'upstream_failed', 'up_for_retry', 'awaiting_input', 'restarting',
          'running', 'up_for_reschedule', 'deferred', 'queued', 'scheduled'], state::text)"#,
        runs
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(|row| Ok((row.run, row.task as TaskIdx, run::word(&row.state)?))).collect()
}

/// True if instances in this state always have a row.
fn has_a_row(state: TaskState) -> bool {
    !matches!(state, TaskState::None | TaskState::Scheduled)
}

struct Range<'a> {
    /// Exclusive lower bound.
    from: Option<(TaskIdx, i32)>,
    /// Inclusive upper bound.
    to: Option<(TaskIdx, i32)>,
    tasks: Option<&'a [TaskIdx]>,
    most: usize,
}

async fn rows(
    db: &mut PgConnection,
    plan: &Plan,
    run: Uuid,
    range: &Range<'_>,
    filter: &InstanceFilter,
) -> StoreResult<Vec<InstanceRow>> {
    let from = range.from.unwrap_or((0, -2));
    let to = range.to.unwrap_or((narrow::task(plan.tasks.len()), -1));
    let tasks = range.tasks.map(|tasks| tasks.iter().map(|&t| t as i16).collect::<Vec<_>>());
    let rows = sqlx::query_file!(
        "queries/instance/list.sql",
        run,
        from.0 as i16,
        from.1,
        to.0 as i16,
        to.1,
        tasks.as_deref(),
        filter.map_index,
        &filter.states.iter().map(|s| s.as_str().to_string()).collect::<Vec<_>>(),
        range.most as i64
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .filter(|row| usize::from(row.task as TaskIdx) < plan.tasks.len())
        .map(|row| {
            let task = row.task as TaskIdx;
            Ok(InstanceRow {
                id: row.id,
                task,
                task_id: plan.task_id(task).into(),
                map_index: row.map_index,
                state: row.state.as_deref().map_or(Ok(TaskState::None), run::word)?,
                try_no: row.try_no,
                max_tries: row.max_tries,
                lease_no: row.lease_no,
                lost_no: row.lost_no,
                worker: row.worker,
                hostname: row.hostname,
                pid: row.pid,
                queued_at: row.queued_at,
                started_at: row.started_at,
                ended_at: row.ended_at,
                wake_at: row.wake_at,
            })
        })
        .collect()
}

/// Iterates over all instances of a run according to its ledger, in DAG order.
struct Places<'a> {
    ledger: &'a Ledger,
    tasks: Option<&'a [TaskIdx]>,
    map_index: Option<i32>,
    next: (TaskIdx, i32),
}

impl<'a> Places<'a> {
    fn new(ledger: &'a Ledger, tasks: Option<&'a [TaskIdx]>, filter: &InstanceFilter) -> Self {
        let next = filter.after.map_or((0, -1), |(task, index)| (task, index + 1));
        Places { ledger, tasks, map_index: filter.map_index, next }
    }
}

impl Places<'_> {
    /// Returns the next task that has remaining instances, with the half-open range of their map indexes.
    fn next_task(&mut self) -> Option<(TaskIdx, i32, i32)> {
        loop {
            let (task, index) = self.next;
            let planned = self.ledger.version.plan.tasks.get(usize::from(task))?;
            // A task without elements is listed as one instance.
            let (lowest, end) = match self.ledger.run.len(planned).filter(|&len| len > 0) {
                Some(len) => (0, len),
                None => (-1, 0),
            };
            let index = index.max(lowest);
            let wanted = self.tasks.is_none_or(|tasks| tasks.contains(&task));
            if !wanted || index >= end || self.map_index.is_some_and(|i| i < index || i >= end) {
                self.next = (task.checked_add(1)?, -1);
                continue;
            }
            return Some(self.map_index.map_or((task, index, end), |index| (task, index, index + 1)));
        }
    }
}

/// `count` and `nth` skip the elements of a mapped task without iterating over them, because a task may have millions.
impl Iterator for Places<'_> {
    type Item = (TaskIdx, i32);

    fn next(&mut self) -> Option<Self::Item> {
        let (task, index, _) = self.next_task()?;
        self.next = (task, index + 1);
        Some((task, index))
    }

    fn count(mut self) -> usize {
        let mut count = 0;
        while let Some((task, first, end)) = self.next_task() {
            count += (end - first).unsigned_abs() as usize;
            self.next = (task, end);
        }
        count
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        let mut left = n;
        loop {
            let (task, first, end) = self.next_task()?;
            let here = (end - first).unsigned_abs() as usize;
            if left < here {
                let index = first.saturating_add(narrow::int(left));
                self.next = (task, index + 1);
                return Some((task, index));
            }
            left -= here;
            self.next = (task, end);
        }
    }
}

fn made_up(ledger: &Ledger, run: Uuid, (task, map_index): (TaskIdx, i32)) -> InstanceRow {
    let plan = &ledger.version.plan;
    let task_id = plan.task_id(task).to_string();
    let id = Uuid::new_v5(&run, format!("{task_id}[{map_index}]").as_bytes());
    let state = ledger.run.without_a_row(plan, task, map_index);
    let max_tries = plan.task(task).retries.min(1000) as i16;
    InstanceRow { max_tries, ..InstanceRow::untried(id, (task, task_id, map_index), state) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_core::model::Model;
    use orch_core::transition::Outcome;
    use serde_json::json;
    use std::time::{Duration, Instant};

    fn ledger(len: i32) -> Ledger {
        let spec = json!({ "dag_id": "d", "tasks": [
            { "task_id": "list", "kind": "rust" },
            { "task_id": "each", "kind": "rust", "map": { "each": { "output": "list" } } },
            { "task_id": "follow", "kind": "rust", "map": { "each": { "outputs": "each" } } },
            { "task_id": "end", "kind": "rust", "after": ["follow"] },
        ] });
        let plan = || Plan::new(Arc::new(serde_json::from_value(spec.clone()).expect("a spec"))).expect("a plan");
        let mut long = plan();
        long.max_map_elements = i32::MAX;
        let mut model = Model::start(Arc::new(long));
        model.finish(0, -1, Outcome::Success { list_len: Some(len), skip: Vec::new() });
        let version = Arc::new(Version::new(1, 1, plan(), vec![1; 4], Vec::new()));
        Ledger { version, rev: 1, run: model.run, is_readable: true }
    }

    #[test]
    fn places_are_counted_and_skipped_as_if_one_by_one() {
        let ledger = ledger(7);
        let filters = [
            InstanceFilter::default(),
            InstanceFilter { map_index: Some(3), ..InstanceFilter::default() },
            InstanceFilter { map_index: Some(-1), ..InstanceFilter::default() },
            InstanceFilter { after: Some((1, 4)), ..InstanceFilter::default() },
            InstanceFilter { after: Some((2, 1)), map_index: Some(3), ..InstanceFilter::default() },
        ];
        for (filter, tasks) in filters.iter().flat_map(|f| [(f, None), (f, Some(&[0, 2][..])), (f, Some(&[][..]))]) {
            let places = || Places::new(&ledger, tasks, filter);
            let one_by_one: Vec<_> = places().collect();
            assert_eq!(places().count(), one_by_one.len(), "{filter:?} {tasks:?}");
            for n in 0..one_by_one.len() + 2 {
                let mut left = places();
                assert_eq!(left.nth(n), one_by_one.get(n).copied(), "{filter:?} {tasks:?}");
                assert_eq!(left.next(), one_by_one.get(n + 1).copied(), "{filter:?} {tasks:?}");
            }
        }
    }

    #[test]
    fn elements_are_not_counted_one_by_one() {
        let (ledger, filter, began) = (ledger(1_000_000_000), InstanceFilter::default(), Instant::now());
        assert_eq!(Places::new(&ledger, None, &filter).count(), 2_000_000_002);
        assert_eq!(Places::new(&ledger, None, &filter).nth(1_500_000_001), Some((2, 500_000_000)));
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
}
