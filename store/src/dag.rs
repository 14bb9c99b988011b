//! Lists, names, pauses and deletes DAGs. The structure of a DAG is stored in its versions.

mod calendar;
mod dependency;
mod favorite;
mod folder;
mod list;
mod names;
mod search;

pub use calendar::{QuarterRuns, runs_by_quarter};
pub use dependency::{DagDependency, dag_dependencies};
pub use favorite::{add_favorite, favorites, is_favorite, remove_favorite};
pub use folder::{BundleDagRow, dags_of_bundle, set_stale, taken_by_others, versions_in_use};
pub use list::{TAGS, dag_ids_like};
pub use names::{DagNames, dag_names, task_ids};
pub use search::{DAGS, by};

use crate::{
    StoreResult, boxed,
    locks::{DagLock, Dags, Locks, lock_dag},
    run,
};
use chrono::{DateTime, Utc};
use orch_spec::state::RunState;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DagRow {
    pub dag_id: String,
    /// Id of the newest version of the DAG.
    pub version: i32,
    pub version_number: i32,
    pub description: String,
    pub tags: Vec<String>,
    pub owners: Vec<String>,
    pub aliases: Vec<String>,
    pub bundle: String,
    pub file: String,
    pub is_paused: bool,
    /// True if no live worker has offered the DAG for a while.
    pub is_stale: bool,
    /// Human-readable description of the schedule.
    pub schedule_text: String,
    pub max_active_runs: i32,
    pub max_consecutive_failed_runs: i32,
    pub next_run_after: Option<DateTime<Utc>>,
    pub next_logical_date: Option<DateTime<Utc>>,
    pub next_interval_start: Option<DateTime<Utc>>,
    pub next_interval_end: Option<DateTime<Utc>>,
    pub registered_at: DateTime<Utc>,
}

/// Number of runs in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCount {
    pub state: RunState,
    pub count: i64,
}

/// Result of [`delete_dag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteDag {
    Deleted {
        runs: usize,
    },
    NoSuchDag,
    /// Some runs of the DAG are still running and must be cancelled first.
    Running,
}

/// Maximum number of runs deleted per transaction.
const DELETE_RUNS: i64 = 50;
/// Maximum number of existing names that are compared with a mistyped one.
const MOST_NAMES: i64 = 5_000;

#[boxed]
pub async fn get_dag(db: &mut PgConnection, dag_id: &str) -> StoreResult<Option<DagRow>> {
    let dag = sqlx::query_as!(
        DagRow,
        "select d.dag_id, d.version, v.number as version_number, d.description, d.tags, d.owners, d.aliases, d.bundle,
              d.file, d.is_paused, d.is_stale, d.schedule_text, d.max_active_runs, d.max_consecutive_failed_runs,
              d.next_run_after, d.next_logical_date, d.next_interval_start, d.next_interval_end, d.registered_at
            from dag d join dag_version v on v.id = d.version where d.dag_id = $1",
        dag_id
    );
    Ok(dag.fetch_optional(db).await?)
}

/// Returns the id of the DAG with this id or alias.
#[boxed]
pub async fn resolve(db: &mut PgConnection, name: &str) -> StoreResult<Option<String>> {
    let id = sqlx::query_scalar!(
        "select dag_id from dag where dag_id = $1 or aliases @> array[$1] order by dag_id <> $1, dag_id limit 1",
        name
    );
    Ok(id.fetch_optional(db).await?)
}

/// Returns existing DAG names that are similar to `name`, the most similar first.
#[boxed]
pub async fn did_you_mean(db: &mut PgConnection, name: &str) -> StoreResult<Vec<String>> {
    let names = sqlx::query_scalar!(
        r#"select name as "name!" from (select dag_id as name from dag union select unnest(aliases) from dag) n
        order by name limit $1"#,
        MOST_NAMES
    );
    let names = names.fetch_all(db).await?;
    let name = name.to_lowercase();
    let mut near: Vec<(usize, String)> = names
        .into_iter()
        .map(|known| (edits(&name, &known.to_lowercase()), known))
        .filter(|(edits, known)| *edits <= known.len().max(name.len()) / 3 || known.to_lowercase().contains(&name))
        .collect();
    near.sort();
    Ok(near.into_iter().take(3).map(|(_, known)| known).collect())
}

/// Returns the Levenshtein distance of two names.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Pauses DAGs: their runs continue, but no new ones start. Returns the ids of the DAGs that were not paused before.
#[boxed]
pub async fn pause(db: &mut PgConnection, _locks: &Locks<Dags>, dag_ids: &[String]) -> StoreResult<Vec<String>> {
    set_paused(db, dag_ids, true).await
}

/// Unpauses DAGs, and returns the locks of those that were paused. The caller starts their queued runs and wakes the
/// schedulers.
#[boxed]
pub async fn unpause(db: &mut PgConnection, locks: Locks<Dags>, dag_ids: &[String]) -> StoreResult<Vec<DagLock>> {
    let unpaused = set_paused(db, dag_ids, false).await?;
    Ok(locks.dags(unpaused))
}

async fn set_paused(db: &mut PgConnection, dag_ids: &[String], paused: bool) -> StoreResult<Vec<String>> {
    let changed = sqlx::query_scalar!(
        "update dag set is_paused = $2 where dag_id = any(array(select dag_id from dag where dag_id = any($1)
          and is_paused <> $2 order by dag_id for no key update)) returning dag_id",
        dag_ids,
        paused
    );
    Ok(changed.fetch_all(db).await?)
}

/// Pauses a DAG if its last `max_consecutive_failed_runs` runs failed. Must run inside the transaction that records the
/// failure, so that a process that is killed afterwards has recorded either both or nothing. The caller holds the lock
/// of a run, and DAGs are locked before runs: this returns `TryAgain` instead of waiting for the DAG's row.
#[boxed]
pub async fn pause_after_failures(db: &mut PgConnection, dag_id: &str) -> StoreResult<bool> {
    let done = sqlx::query(
        "with locked as (select dag_id, max_consecutive_failed_runs as most from dag
          where dag_id = $1 and max_consecutive_failed_runs > 0 and not is_paused for no key update nowait)
        update dag d set is_paused = true from locked where d.dag_id = locked.dag_id
          and locked.most = (select count(*) filter (where l.state = 'failed') from (
            select r.state from dag_run r where r.dag_id = $1 and r.state in ('success', 'failed')
            order by r.run_after desc, r.id desc limit locked.most) l)",
    );
    Ok(done.bind(dag_id).execute(db).await?.rows_affected() == 1)
}

/// Returns the number of runs in each state.
#[boxed]
pub async fn run_counts(db: &mut PgConnection, dag_id: &str) -> StoreResult<Vec<RunCount>> {
    let rows = sqlx::query!(
        r#"select state::text as "state!", count(*) as "count!" from dag_run where dag_id = $1 group by state order by state"#,
        dag_id
    );
    let rows = rows.fetch_all(db).await?;
    rows.into_iter().map(|row| Ok(RunCount { state: run::word(&row.state)?, count: row.count })).collect()
}

/// Returns the run counts of these DAGs. `None` means all DAGs.
#[boxed]
pub async fn run_counts_of(
    db: &mut PgConnection,
    dag_ids: Option<&[String]>,
) -> StoreResult<Vec<(String, Vec<RunCount>)>> {
    let rows = sqlx::query!(
        r#"select d.dag_id as "dag_id!", r.state::text as "state?", count(r.id) as "count!"
        from dag d left join dag_run r on r.dag_id = d.dag_id
        where $1::text[] is null or d.dag_id = any($1) group by 1, 2 order by 1, 2"#,
        dag_ids
    );
    let mut found: Vec<(String, Vec<RunCount>)> = Vec::new();
    for row in rows.fetch_all(db).await? {
        if found.last().is_none_or(|(dag_id, _)| *dag_id != row.dag_id) {
            found.push((row.dag_id, Vec::new()));
        }
        if let (Some(state), Some((_, counts))) = (row.state, found.last_mut()) {
            counts.push(RunCount { state: run::word(&state)?, count: row.count });
        }
    }
    Ok(found)
}

/// Deletes a DAG with all its runs, in batches. Call it outside of a transaction, so that a failed deletion keeps its
/// progress and can be repeated. If a worker still has the DAG, the DAG returns without its history when that worker
/// registers again.
#[boxed]
pub async fn delete_dag(db: &mut PgConnection, locks: Locks<Dags>, dag_id: &str) -> StoreResult<DeleteDag> {
    let dag = lock_dag(db, locks, dag_id).await?;
    let running = sqlx::query_scalar!(
        r#"select exists (select from dag_run r where r.dag_id = d.dag_id and r.state = 'running') as "running!"
        from dag d where dag_id = $1"#,
        dag_id
    );
    match running.fetch_optional(&mut *db).await? {
        None => return Ok(DeleteDag::NoSuchDag),
        Some(true) => return Ok(DeleteDag::Running),
        Some(false) => {}
    }
    let mut deleted = 0;
    loop {
        let runs =
            sqlx::query_scalar!("select id from dag_run where dag_id = $1 order by id limit $2", dag_id, DELETE_RUNS);
        let runs = runs.fetch_all(&mut *db).await?;
        if runs.is_empty() {
            break;
        }
        let gone = run::delete_runs(db, dag.runs(), &runs).await?;
        if gone == 0 {
            return Ok(DeleteDag::Running);
        }
        deleted += gone;
    }
    let mut tx = db.begin().await?;
    sqlx::query!("delete from dag where dag_id = $1", dag_id).execute(&mut *tx).await?;
    sqlx::query!("delete from dag_version where dag_id = $1", dag_id).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(DeleteDag::Deleted { runs: deleted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_near_by_the_letters_to_change() {
        for (a, b, expected) in [("", "abc", 3), ("wether", "weather", 1), ("retail", "retial", 2), ("same", "same", 0)]
        {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }
}
