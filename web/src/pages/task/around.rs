//! Context of a task instance: the same task in the last runs of its DAG, and the elements of a mapped task.

use crate::pages::encoded;
use crate::pages::home::task_href;
use crate::parts::{Bar, Cell, Cells, Durations, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::Inner;
use chrono::TimeDelta;
use orch_core::plan::TaskIdx;
use orch_spec::state::TaskState;
use orch_store::instance::{InstanceFilter, InstanceRow, Ledger, ledgers, list_instances};
use orch_store::narrow;
use orch_store::overview::last_runs;
use orch_store::timing::spans;
use orch_store::version::Versions;
use sqlx::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

const RUNS: i64 = 30;
/// A single bar shows nothing that the page does not already show.
const FEWEST_RUNS: usize = 2;
const MOST_ELEMENTS: usize = 400;
/// Maximum number of failed and retrying elements, which come first.
const MOST_WRONG: usize = 200;
const WRONG: [TaskState; 3] = [TaskState::Failed, TaskState::UpForRetry, TaskState::UpstreamFailed];

/// Returns the durations of a task in the last runs of its DAG. A mapped task counts as a whole.
pub(super) async fn over_runs(
    app: &Inner,
    db: &mut PgConnection,
    dag_id: &str,
    task_id: &str,
    now: ZonedNow,
) -> Result<Option<Durations>, Refusal> {
    let runs = last_runs(db, &[dag_id.to_string()], RUNS).await?;
    let ids: Vec<Uuid> = runs.iter().map(|run| run.id).collect();
    let ledgers = ledgers(db, &mut app.versions.clone(), &ids).await?;
    let of = |ledger: &Ledger| {
        let plan = &ledger.version.plan;
        let task: TaskIdx = plan.index_of(task_id)?;
        Some((task, ledger.run.len(plan.task(task)), ledger.run.task(task)))
    };
    let known: Vec<_> = ledgers.iter().filter_map(|(run, ledger)| Some((*run, of(ledger)?))).collect();
    let asked: Vec<_> = known.iter().map(|(run, (task, len, _))| (*run, *task, *len)).collect();
    let spans: HashMap<Uuid, _> = spans(db, &asked).await?.into_iter().map(|span| (span.run, span)).collect();
    let states: HashMap<Uuid, TaskState> = known.into_iter().map(|(run, (_, _, state))| (run, state)).collect();
    let bars = runs.iter().filter_map(|run| {
        let (span, state) = (spans.get(&run.id)?, states.get(&run.id)?);
        let run_href = format!("{}/runs/{}", dag_href(&run.dag_id), encoded(&run.run_id));
        let href = task_href(&run_href, task_id, -1);
        let took = span.last_ended.unwrap_or(now.at) - span.first_started;
        Some(Bar::part_of(run, state.as_str(), took, href, now))
    });
    let bars: Vec<Bar> = bars.collect();
    let usual = usual(&bars);
    Ok((bars.len() >= FEWEST_RUNS).then(|| Durations::new(bars.into_iter(), usual, narrow::size(RUNS))))
}

/// Returns the median duration of the successful bars.
fn usual(bars: &[Bar]) -> Option<TimeDelta> {
    let mut took: Vec<TimeDelta> = bars.iter().filter_map(Bar::of_success).collect();
    took.sort();
    took.get(took.len().saturating_sub(1) / 2).copied()
}

/// Returns the elements of a mapped task: failed and retrying ones first, then the rest by index.
pub(super) async fn elements(
    db: &mut PgConnection,
    versions: &mut Versions,
    ledger: &Ledger,
    (run, run_href, task_id): (Uuid, &str, &str),
    now: ZonedNow,
) -> Result<Cells, Refusal> {
    let of_task = InstanceFilter { task_ids: Some(vec![task_id.to_string()]), ..InstanceFilter::default() };
    let plan = &ledger.version.plan;
    let counts = plan.index_of(task_id).and_then(|task| ledger.run.element_counts(plan.task(task)));
    let has_wrong = counts.is_none_or(|counts| {
        // Elements of an unfinished task may be waiting for a retry, which the ledger does not count separately.
        counts.iter().any(|(state, count)| *count > 0 && (WRONG.contains(state) || !state.is_finished()))
    });
    let mut rows: Vec<InstanceRow> = Vec::new();
    if has_wrong {
        let wrong = InstanceFilter { states: WRONG.to_vec(), ..of_task.clone() };
        rows.extend(list_instances(db, versions, run, &wrong, MOST_WRONG).await?.unwrap_or_default());
    }
    let first = list_instances(db, versions, run, &of_task, MOST_ELEMENTS - rows.len()).await?.unwrap_or_default();
    let wrong: Vec<i32> = rows.iter().map(|row| row.map_index).collect();
    rows.extend(first.into_iter().filter(|row| row.map_index >= 0 && !wrong.contains(&row.map_index)));
    let cell = |row: InstanceRow| Cell {
        name: format!("[{}]", row.map_index),
        state: row.state.as_str(),
        took: row.started_at.map(|from| row.ended_at.unwrap_or(now.at) - from),
        href: Some(task_href(run_href, task_id, row.map_index)),
    };
    Ok(Cells::new("Elements", rows.into_iter().map(cell).collect()))
}
