//! Waits of deferred attempts. Workers poll the conditions of the waits and store the results, which end or continue
//! each wait.
//!
//! A worker leases due conditions by moving `wake_at` into the future. The pair (`looked_by`, `looks`) is the fencing
//! token of a poll result. If the worker dies, its conditions become due again when the lease ends.

use crate::{StoreError, StoreResult, boxed, instance::ledgers, narrow, step::Lease, version::Versions};
use chrono::{DateTime, Utc};
use orch_core::plan::TaskIdx;
use orch_sdk::task::{Resumed, RunSeen, WaitEnd};
use orch_sdk::wait::{RunSelector, RunWait};
use orch_spec::state::TaskState;
use orch_spec::text::{JsonText, Text};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// A condition that this worker has leased and polls.
#[derive(Debug, Clone)]
pub struct Watched {
    pub run: Uuid,
    pub task: i16,
    pub map_index: i32,
    pub attempt: Uuid,
    /// Lease number under which the attempt continues after the wait.
    pub lease_no: i32,
    pub looks: i32,
    pub kind: String,
    /// Configuration of the condition as JSON text. Conditions with equal text are polled only once.
    pub config: Option<String>,
    pub poke_ms: i64,
    /// Number of consecutive polls that returned an error.
    pub errors: i32,
    pub last_error: Option<String>,
}

/// Result of polling the condition of one waiting attempt.
#[derive(Debug, Clone)]
pub struct WatchedOutcome {
    pub run: Uuid,
    pub task: i16,
    pub map_index: i32,
    pub looks: i32,
    pub found: ConditionOutcome,
}

#[derive(Debug, Clone)]
pub enum ConditionOutcome {
    /// The wait has ended, and the attempt continues.
    End(WaitEnd),
    /// The condition does not hold yet. It is polled again after `next_ms` milliseconds.
    NotYet { next_ms: i64 },
    /// The poll failed with `error`. The condition is polled again after `next_ms` milliseconds.
    Error { next_ms: i64, error: String },
}

/// Identifies the polling worker and the conditions that it can poll.
#[derive(Debug, Clone)]
pub struct Watcher {
    pub worker: i32,
    pub queues: Vec<i32>,
    pub kinds: Vec<String>,
    /// Duration of the lease on a condition: the worker must store the poll result within this time.
    pub lease: Duration,
}

/// Leases at most `most` due conditions for polling by this worker.
#[boxed]
pub async fn take_due(db: &mut PgConnection, watcher: &Watcher, most: i64) -> StoreResult<Vec<Watched>> {
    let taken = sqlx::query_file_as!(
        Watched,
        "queries/watch/take.sql",
        &watcher.queues,
        &watcher.kinds,
        most,
        watcher.worker,
        watcher.lease.as_secs_f64()
    );
    Ok(taken.fetch_all(db).await?)
}

/// Extends the leases on the conditions that this worker is polling.
#[boxed]
pub async fn keep(db: &mut PgConnection, watcher: &Watcher) -> StoreResult<()> {
    sqlx::query!(
        "update waiting set wake_at = now() + $2::float8 * interval '1 second' where looked_by = $1 and kind is not null",
        watcher.worker,
        watcher.lease.as_secs_f64()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the time until the next condition that this worker could poll is due, or `None` if no such condition is
/// waiting.
#[boxed]
pub async fn next_due(db: &mut PgConnection, watcher: &Watcher) -> StoreResult<Option<Duration>> {
    let secs = sqlx::query_scalar!(
        "select extract(epoch from min(wake_at) - now())::float8 from waiting
        where kind is not null and kind = any($2)
          and queue = any($1::integer[] || array(select -l.id from line l where l.queue = any($1)))",
        &watcher.queues,
        &watcher.kinds
    );
    Ok(secs.fetch_one(db).await?.map(|secs| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or(Duration::MAX)))
}

/// Stores poll results. A result with an outdated fencing token changes nothing. An instance whose wait ended becomes
/// claimable later, in `due::wake_waiting`.
#[boxed]
pub async fn answer(db: &mut PgConnection, worker: i32, answers: &[WatchedOutcome]) -> StoreResult<u64> {
    let ends = answers.iter().map(|a| match &a.found {
        ConditionOutcome::End(end) => {
            let text = serde_json::to_string(end).map_err(|e| StoreError::corrupt(e.to_string()))?;
            Ok(Some(JsonText::new(text).into_string()))
        }
        _ => Ok(None),
    });
    let ends = ends.collect::<StoreResult<Vec<Option<String>>>>()?;
    let next = answers.iter().map(|a| match a.found {
        ConditionOutcome::NotYet { next_ms } | ConditionOutcome::Error { next_ms, .. } => next_ms,
        ConditionOutcome::End(_) => 0,
    });
    let errors = answers.iter().map(|a| match &a.found {
        ConditionOutcome::Error { error, .. } => Some(Text::new(error.as_str()).into_string()),
        _ => None,
    });
    let done = sqlx::query_file!(
        "queries/watch/answer.sql",
        worker,
        &answers.iter().map(|a| a.run).collect::<Vec<_>>(),
        &answers.iter().map(|a| a.task).collect::<Vec<_>>(),
        &answers.iter().map(|a| a.map_index).collect::<Vec<_>>(),
        &answers.iter().map(|a| a.looks).collect::<Vec<_>>(),
        &ends as &[Option<String>],
        &next.collect::<Vec<_>>(),
        &errors.collect::<Vec<_>>() as &[Option<String>]
    );
    Ok(done.execute(db).await?.rows_affected())
}

/// Returns how the wait before this attempt ended, or `None` if the attempt does not continue after a wait.
#[boxed]
pub async fn resumed(db: &mut PgConnection, lease: Lease) -> StoreResult<Option<Resumed>> {
    let stored = sqlx::query_scalar!(
        r#"select resumed::text from task_instance where run = $1 and task = $2 and map_index = $3"#,
        lease.run,
        lease.task as i16,
        lease.map_index
    );
    let Some(text) = stored.fetch_optional(db).await?.flatten() else { return Ok(None) };
    let broken = |error| StoreError::corrupt(format!("how a wait of run `{}` ended: {error}", lease.run));
    let stored: serde_json::Value = serde_json::from_str(&text).map_err(broken)?;
    if stored["attempt"] != lease.attempt.to_string() {
        return Ok(None); // the wait of an earlier attempt
    }
    serde_json::from_value(stored).map(Some).map_err(broken)
}

#[derive(Debug, Clone, PartialEq)]
pub struct WaitRow {
    /// Kind of the awaited condition. `None` if the instance waits only for a time.
    pub kind: Option<String>,
    pub config: Option<serde_json::Value>,
    pub wake_at: DateTime<Utc>,
    pub give_up_at: Option<DateTime<Utc>>,
    pub on_timeout: String,
    pub looks: i32,
    pub last_error: Option<String>,
}

/// Returns the current wait of an instance, or `None` if the instance is not deferred.
#[boxed]
pub async fn wait_of(db: &mut PgConnection, run: Uuid, task: TaskIdx, map_index: i32) -> StoreResult<Option<WaitRow>> {
    let row = sqlx::query_as!(
        WaitRow,
        "select kind, config, wake_at, give_up_at, on_timeout, looks, last_error from waiting
        where run = $1 and task = $2 and map_index = $3 and state = 'deferred'",
        run,
        task as i16,
        map_index
    );
    Ok(row.fetch_optional(db).await?)
}

/// Returns the state of the runs or tasks for which other tasks wait, in the order of `asked`. The entry is `None` if
/// the run or task does not exist. Needs one SQL statement for runs, and one or two more if tasks are requested.
#[boxed]
pub async fn runs(
    db: &mut PgConnection,
    versions: &mut Versions,
    asked: &[RunWait],
) -> StoreResult<Vec<Option<RunSeen>>> {
    let run_id = |wait: &RunWait| match &wait.which {
        RunSelector::RunId(run_id) => Some(run_id.clone()),
        _ => None,
    };
    let date = |wait: &RunWait| match wait.which {
        RunSelector::LogicalDate(date) => Some(date),
        _ => None,
    };
    let since = |wait: &RunWait| match wait.which {
        RunSelector::EndedSince(since) => Some(since),
        _ => None,
    };
    let rows = sqlx::query_file!(
        "queries/watch/runs.sql",
        &asked.iter().map(|w| w.dag_id.clone()).collect::<Vec<_>>(),
        &asked.iter().map(|w| w.task_id.is_some()).collect::<Vec<_>>(),
        &asked.iter().map(run_id).collect::<Vec<_>>() as &[Option<String>],
        &asked.iter().map(date).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &asked.iter().map(since).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &asked.iter().map(|w| w.allowed.join(",")).collect::<Vec<_>>()
    )
    .fetch_all(&mut *db)
    .await?;
    let mut seen: Vec<Option<RunSeen>> = vec![None; asked.len()];
    let mut of_tasks: Vec<(usize, Uuid, RunSeen)> = Vec::new();
    for row in rows {
        let place = narrow::size(row.place).saturating_sub(1);
        let run =
            RunSeen { run_id: row.run_id, logical_date: row.logical_date, state: row.state, ended_at: row.ended_at };
        match asked[place].task_id {
            None => seen[place] = Some(run),
            Some(_) => of_tasks.push((place, row.id, run)),
        }
    }
    if !of_tasks.is_empty() {
        see_tasks(db, versions, asked, of_tasks, &mut seen).await?;
    }
    Ok(seen)
}

/// Fills in the states of the awaited tasks in `seen`. `candidates` contains possible runs for each wait, newest first;
/// the first match wins.
async fn see_tasks(
    db: &mut PgConnection,
    versions: &mut Versions,
    asked: &[RunWait],
    candidates: Vec<(usize, Uuid, RunSeen)>,
    seen: &mut [Option<RunSeen>],
) -> StoreResult<()> {
    let ids: Vec<Uuid> = candidates.iter().map(|c| c.1).collect();
    let ledgers: HashMap<Uuid, _> = ledgers(db, versions, &ids).await?.into_iter().collect();
    let task_of = |(place, run, _): &(usize, Uuid, RunSeen)| -> Option<(TaskIdx, TaskState)> {
        let ledger = ledgers.get(run)?;
        let task = ledger.version.plan.index_of(asked[*place].task_id.as_deref()?)?;
        Some((task, ledger.run.task(task)))
    };
    let tasks: Vec<i16> = candidates.iter().map(|c| task_of(c).map_or(-1, |(task, _)| task as i16)).collect();
    let ended = sqlx::query!(
        r#"select t.run as "run!", t.task as "task!", max(t.ended_at) as ended_at
        from unnest($1::uuid[], $2::smallint[]) as q (run, task)
        join task_instance t on t.run = q.run and t.task = q.task group by t.run, t.task"#,
        &ids,
        &tasks
    )
    .fetch_all(db)
    .await?;
    let ended: HashMap<(Uuid, i16), Option<DateTime<Utc>>> =
        ended.into_iter().map(|row| ((row.run, row.task), row.ended_at)).collect();
    for candidate in candidates {
        let Some((task, state)) = task_of(&candidate) else { continue };
        let (place, run, mut found) = candidate;
        found.state = state.to_string();
        found.ended_at = ended.get(&(run, task as i16)).copied().flatten().filter(|_| state.is_finished());
        let counts = match asked[place].which {
            RunSelector::EndedSince(since) => {
                found.ended_at.is_some_and(|at| at >= since) && asked[place].allowed.contains(&found.state)
            }
            _ => true,
        };
        if counts && seen[place].is_none() {
            seen[place] = Some(found);
        }
    }
    Ok(())
}

/// Returns the time since the attempt first polled its condition.
#[boxed]
pub async fn running_for(db: &mut PgConnection, lease: Lease) -> StoreResult<Duration> {
    let secs = sqlx::query_scalar!(
        "select extract(epoch from now() - started_at)::float8 from task_instance
        where run = $1 and task = $2 and map_index = $3 and attempt = $4",
        lease.run,
        lease.task as i16,
        lease.map_index,
        lease.attempt
    );
    let secs = secs.fetch_optional(db).await?.flatten().unwrap_or_default();
    Ok(Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or_default())
}
