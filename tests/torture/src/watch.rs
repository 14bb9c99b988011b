//! Takes snapshots of the database while faults are injected: finished instances must not change, and attempt and lease
//! numbers must not decrease.

use orch_spec::state::{RunState, TaskState};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use uuid::Uuid;

const EVERY: Duration = Duration::from_millis(150);

#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<ObservedState>>,
    running: JoinSet<()>,
}

#[derive(Debug, Default)]
struct ObservedState {
    instances: HashMap<(Uuid, i16, i32), Row>,
    runs: HashMap<Uuid, RunState>,
    violations: Vec<String>,
    looks: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    attempt: Uuid,
    try_no: i16,
    lease_no: i32,
    state: TaskState,
}

impl Watch {
    pub fn start(pool: PgPool) -> Watch {
        let seen = Arc::new(Mutex::new(ObservedState::default()));
        let mut running = JoinSet::new();
        let watched = seen.clone();
        running.spawn(async move {
            loop {
                // In some scenarios the server is down.
                if let Ok(look) = look(&pool).await {
                    watched.lock().expect("nothing panics while holding it").compare(look);
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Watch { seen, running }
    }

    /// Stops and returns the violations and the number of snapshots.
    pub fn end(mut self) -> (Vec<String>, usize) {
        self.running.abort_all();
        let mut seen = self.seen.lock().expect("nothing panics while holding it");
        (std::mem::take(&mut seen.violations), seen.looks)
    }
}

type StateSample = (Vec<(Uuid, RunState)>, Vec<((Uuid, i16, i32), Row)>);
type Columns = (Uuid, i16, i32, Uuid, i16, i32, Option<String>);

/// Takes a snapshot with one statement per table, so that the rows of a table are consistent.
async fn look(pool: &PgPool) -> sqlx::Result<StateSample> {
    let mut db = pool.acquire().await?;
    let instances: Vec<Columns> = sqlx::query_as(
        "select run, task, map_index, attempt, try_no, lease_no, state::text from task_instance
        order by run, task, map_index",
    )
    .fetch_all(&mut *db)
    .await?;
    let runs: Vec<(Uuid, String)> = sqlx::query_as("select id, state::text from dag_run").fetch_all(&mut *db).await?;
    let runs = runs.into_iter().map(|(id, state)| (id, state.parse().expect("a state of a run"))).collect();
    let row = |(run, task, index, attempt, try_no, lease_no, state): Columns| {
        let state = state.map_or(TaskState::None, |s| s.parse().expect("a state of a task"));
        ((run, task, index), Row { attempt, try_no, lease_no, state })
    };
    Ok((runs, instances.into_iter().map(row).collect()))
}

impl ObservedState {
    fn compare(&mut self, (runs, instances): StateSample) {
        self.looks += 1;
        for (instance, row) in instances {
            if let Some(before) = self.instances.insert(instance, row.clone()) {
                self.violations
                    .extend(wrong(&before, &row).map(|why| format!("{instance:?}: {why}: {before:?} → {row:?}")));
            }
        }
        for (run, state) in runs {
            let before = self.runs.insert(run, state);
            if before.is_some_and(|before| before.is_finished() && before != state) {
                self.violations.push(format!("run {run} was over as {before:?} and is {state}"));
            }
        }
    }
}

/// Returns the violation between two snapshots. No scenario clears or marks instances.
fn wrong(before: &Row, now: &Row) -> Option<&'static str> {
    if before.state.is_finished() && before != now {
        return Some("an accepted outcome changed");
    }
    if now.try_no < before.try_no {
        return Some("a try came back");
    }
    if now.try_no == before.try_no && now.attempt != before.attempt {
        return Some("one try has two attempts");
    }
    if now.attempt == before.attempt && now.lease_no < before.lease_no {
        return Some("a lease came back");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_is_overwritten_is_seen() {
        let row = |lease_no, state| Row { attempt: Uuid::nil(), try_no: 1, lease_no, state };
        assert_eq!(wrong(&row(1, TaskState::Running), &row(2, TaskState::Running)), None);
        assert!(wrong(&row(2, TaskState::Success), &row(1, TaskState::Success)).is_some());
        assert!(wrong(&row(2, TaskState::Success), &row(2, TaskState::Failed)).is_some());
        assert!(wrong(&row(2, TaskState::Running), &row(1, TaskState::Running)).is_some());
    }
}
