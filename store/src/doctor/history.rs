//! Verifies stored runs: reads their history, and checks in `orch_core` whether the stored state follows from it.
//! Read-only. Uses short snapshots, so a run that changes meanwhile is seen in one consistent state.

use crate::{
    StoreError, StoreResult, boxed, narrow, output, run,
    version::{Version, Versions},
};
use chrono::{DateTime, Utc};
use orch_core::history::{Difference, History, Over, TaskElement, judge};
use orch_core::plan::{Plan, TaskIdx};
use orch_core::run::Run;
use orch_spec::state::{RunState, TaskState};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of runs that are read in one snapshot.
const PAGE: i64 = 200;
/// Maximum number of instances held in memory, unless a single run has more.
const MOST_INSTANCES: i64 = 50_000;

/// Selects the runs to verify.
#[derive(Debug, Clone, Default)]
pub struct WhichHistory {
    pub dag_id: Option<String>,
    /// Includes only runs that were created at this time or later.
    pub since: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRun {
    pub id: Uuid,
    pub dag_id: String,
    pub run_id: String,
    pub differences: Vec<NamedDifference>,
    /// True if the decisions of the run were replayed. If false, only its ledger was compared.
    pub replayed: bool,
}

/// A stored value that does not follow from the history of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedDifference {
    /// `None` if the difference concerns the run as a whole.
    pub task_id: Option<String>,
    /// −1 if the difference does not concern a single mapped element.
    pub map_index: i32,
    pub what: String,
    pub stored: String,
    pub follows: String,
}

struct RunRow {
    id: Uuid,
    dag_id: String,
    run_id: String,
    rev: i32,
    version: i32,
    state: String,
    ledger: Vec<i16>,
    counters: Vec<i32>,
    cleared: bool,
    moved: bool,
}

struct RunHistory {
    row: RunRow,
    version: Arc<Version>,
    history: History,
    unfolded: BTreeSet<TaskElement>,
}

/// Returns the number of runs to verify.
#[boxed]
pub async fn count_history(db: &mut PgConnection, which: &WhichHistory) -> StoreResult<i64> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dag_run
        where ($1::text is null or dag_id = $1) and ($2::timestamptz is null or created_at >= $2)"#,
        which.dag_id,
        which.since
    );
    Ok(count.fetch_one(db).await?)
}

/// Verifies the next runs after `after`, in the order of their creation. Returns an empty list if there are no more.
#[boxed]
pub async fn verify_history(
    db: &mut PgConnection,
    versions: &mut Versions,
    which: &WhichHistory,
    after: Option<Uuid>,
) -> StoreResult<Vec<VerifiedRun>> {
    let mut tx = db.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await?;
    let rows = sqlx::query_file_as!(RunRow, "queries/history/runs.sql", which.dag_id, which.since, after, PAGE)
        .fetch_all(&mut *tx)
        .await?;
    let (mut verified, mut together, mut instances) = (Vec::with_capacity(rows.len()), Vec::new(), 0);
    for row in rows {
        let version = versions.get(&mut tx, row.version).await?;
        let history = begun(&row)?;
        instances += size(&version.plan, &history.run);
        together.push(RunHistory { row, version, history, unfolded: BTreeSet::new() });
        if instances > MOST_INSTANCES {
            verified.extend(verify(&mut tx, std::mem::take(&mut together)).await?);
            instances = 0;
        }
    }
    verified.extend(verify(&mut tx, together).await?);
    tx.rollback().await?;
    Ok(verified)
}

fn begun(row: &RunRow) -> StoreResult<History> {
    let state: RunState = run::word(&row.state)?;
    Ok(History {
        rev: row.rev,
        run: Run { state, ledger: row.ledger.clone(), counters: row.counters.clone() },
        cleared: row.cleared,
        changed: row.cleared || row.moved,
        over: BTreeMap::new(),
        in_flight: BTreeSet::new(),
        held: BTreeSet::new(),
        twice: BTreeSet::new(),
        list_lens: HashMap::new(),
        outputs: HashMap::new(),
    })
}

/// Returns the approximate number of rows of a run. It is 1 if the ledger has a wrong size and cannot be read.
fn size(plan: &Plan, run: &Run) -> i64 {
    if run.counters.len() != plan.counters {
        return 1;
    }
    plan.tasks.iter().map(|task| i64::from(run.len(task).unwrap_or(1).max(1))).sum()
}

async fn verify(db: &mut PgConnection, mut runs: Vec<RunHistory>) -> StoreResult<Vec<VerifiedRun>> {
    let places: HashMap<Uuid, usize> = runs.iter().enumerate().map(|(at, run)| (run.row.id, at)).collect();
    read_instances(db, &mut runs, &places).await?;
    read_list_lengths(db, &mut runs, &places).await?;
    let mut verified = Vec::with_capacity(runs.len());
    for mut reading in runs {
        read_outputs(db, &mut reading).await?;
        let plan = &reading.version.plan;
        let mut judged = judge(plan, &reading.history);
        if judged.replayed && !judged.differences.is_empty() && was_changed(db, &reading.row).await? {
            (judged.differences, judged.replayed) = (Vec::new(), false);
        }
        let RunRow { id, dag_id, run_id, .. } = reading.row;
        let differences = judged.differences.into_iter().map(|d| named(plan, d)).collect();
        verified.push(VerifiedRun { id, dag_id, run_id, differences, replayed: judged.replayed });
    }
    Ok(verified)
}

fn named(plan: &Plan, difference: Difference) -> NamedDifference {
    let Difference { task, index, what, stored, follows } = difference;
    let task_id = task.map(|task| plan.task_id(task).to_owned());
    NamedDifference { task_id, map_index: index, what, stored, follows }
}

async fn read_instances(
    db: &mut PgConnection,
    runs: &mut [RunHistory],
    places: &HashMap<Uuid, usize>,
) -> StoreResult<()> {
    let ids: Vec<Uuid> = runs.iter().map(|run| run.row.id).collect();
    let rows = sqlx::query_file!("queries/history/instances.sql", &ids).fetch_all(db).await?;
    for row in rows {
        let reading = &mut runs[places[&row.run]];
        let (history, place) = (&mut reading.history, (row.task as TaskIdx, row.map_index));
        let is_first = match (row.place.as_str(), row.state.as_deref()) {
            ("row", Some(state)) => {
                let state: TaskState = run::word(state)?;
                let ended_at_us = row.ended_at.map_or(0, |at| at.timestamp_micros());
                match state {
                    _ if state.is_finished() => {
                        let over = Over { state, ran: row.ran, rev_end: row.rev_end, ended_at_us };
                        history.over.insert(place, over).is_none()
                    }
                    TaskState::Running | TaskState::Restarting => history.in_flight.insert(place),
                    // This row describes the previous attempt. The next attempt is in another table.
                    _ => true,
                }
            }
            ("held", _) => history.held.insert(place),
            ("unfolded", _) => reading.unfolded.insert(place) && history.in_flight.insert(place),
            _ => history.in_flight.insert(place),
        };
        if !is_first {
            history.twice.insert(place);
        }
    }
    for RunHistory { history, unfolded, .. } in runs {
        history.over.retain(|place, _| !unfolded.contains(place));
        let both = |place: &&TaskElement| history.over.contains_key(*place) || history.held.contains(*place);
        history.twice.extend(history.in_flight.iter().filter(both));
    }
    Ok(())
}

async fn read_list_lengths(
    db: &mut PgConnection,
    runs: &mut [RunHistory],
    places: &HashMap<Uuid, usize>,
) -> StoreResult<()> {
    let (mut ids, mut tasks) = (Vec::new(), Vec::new());
    for reading in &*runs {
        for &task in reading.version.plan.list_slots.keys() {
            if reading.history.over.get(&(task, -1)).is_some_and(|over| over.state == TaskState::Success) {
                ids.push(reading.row.id);
                tasks.push(task as i16);
            }
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    for row in sqlx::query_file!("queries/history/list_lengths.sql", &ids, &tasks).fetch_all(db).await? {
        if let Some(length) = row.length {
            runs[places[&row.run]].history.list_lens.insert(row.task as TaskIdx, length);
        }
    }
    Ok(())
}

/// Reads the outputs of tasks that decide which other tasks run. If a run's outputs are too large, the run is not
/// replayed.
async fn read_outputs(db: &mut PgConnection, reading: &mut RunHistory) -> StoreResult<()> {
    let plan = &reading.version.plan;
    let tells = |&task: &TaskIdx| {
        let kind = plan.spec.tasks[usize::from(task)].kind.as_str();
        matches!(kind, "branch" | "short_circuit") || !plan.task(task).asked_by.is_empty()
    };
    let tasks: Vec<TaskIdx> = (0..narrow::task(plan.tasks.len())).filter(tells).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    match output::of_tasks(db, reading.row.id, &tasks, output::MAX_COLLECTED_BYTES).await {
        Err(StoreError::TooManyBytes(_)) => reading.history.changed = true,
        outputs => {
            let outputs = outputs?.into_iter().map(|(task, index, value)| ((task, index), value));
            reading.history.outputs.extend(outputs);
        }
    }
    Ok(())
}

/// True if, according to the audit log, a user has changed the run, such as by a mark, a clear or a move to another
/// version.
async fn was_changed(db: &mut PgConnection, run: &RunRow) -> StoreResult<bool> {
    let changed = sqlx::query_scalar!(
        r#"select exists (select from audit where dag_id = $1 and run_id = $2
          and event not in ('trigger_dag_run', 'cancel_dag_run', 'note_dag_run', 'note_task_instance',
            'create_xcom', 'patch_xcom', 'delete_xcom')) as "changed!""#,
        run.dag_id,
        run.run_id
    );
    Ok(changed.fetch_one(db).await?)
}
