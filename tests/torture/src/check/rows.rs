//! All rows of the database that a verdict needs.

use orch_core::plan::TaskIdx;
use orch_core::run::Run;
use orch_spec::state::TaskState;
use orch_store::version::{Version, load_all};
use sqlx::PgPool;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

pub(super) struct Rows {
    pub(super) runs: Vec<RunRow>,
    pub(super) versions: HashMap<i32, Arc<Version>>,
    /// Instances by run.
    pub(super) instances: HashMap<Uuid, BTreeMap<(TaskIdx, i32), InstanceRow>>,
    /// Superseded attempts, by run, task and element.
    pub(super) tries: HashMap<(Uuid, TaskIdx, i32), Vec<TryRow>>,
    pub(super) failures: HashSet<Uuid>,
    /// JSON of task outputs, by run, task and element.
    pub(super) outputs: HashMap<(Uuid, TaskIdx, i32), String>,
    /// Rows committed with an outcome (attempt and lease), by run, task and element.
    pub(super) published: HashMap<(Uuid, String, i32), Vec<(Uuid, i32)>>,
}

pub(super) struct RunRow {
    pub(super) id: Uuid,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    pub(super) version: i32,
    pub(super) ledger: Run,
}

#[derive(Debug)]
pub(super) struct InstanceRow {
    pub(super) attempt: Uuid,
    pub(super) try_no: i16,
    pub(super) lease_no: i32,
    pub(super) state: TaskState,
}

#[derive(Debug)]
pub(super) struct TryRow {
    pub(super) attempt: Uuid,
    pub(super) try_no: i16,
    pub(super) lease_no: i32,
    pub(super) state: TaskState,
}

fn state(word: Option<&str>) -> TaskState {
    word.map_or(TaskState::None, |word| word.parse().expect("a state of a task"))
}

impl Rows {
    pub(super) async fn read(pool: &PgPool) -> Rows {
        Rows::try_read(pool).await.unwrap_or_else(|error| panic!("the database cannot be read: {error}"))
    }

    async fn try_read(pool: &PgPool) -> sqlx::Result<Rows> {
        let mut db = pool.acquire().await?;
        type RunColumns = (Uuid, String, String, i32, String, Vec<i16>, Vec<i32>);
        let runs: Vec<RunColumns> = sqlx::query_as(
            "select id, dag_id, run_id, version, state::text, ledger, counters from dag_run order by id",
        )
        .fetch_all(&mut *db)
        .await?;
        let runs: Vec<RunRow> = runs
            .into_iter()
            .map(|(id, dag_id, run_id, version, state, ledger, counters)| RunRow {
                id,
                dag_id,
                run_id,
                version,
                ledger: Run { state: state.parse().expect("a state of a run"), ledger, counters },
            })
            .collect();
        type Instance = (Uuid, i16, i32, Uuid, i16, i32, Option<String>);
        let rows: Vec<Instance> =
            sqlx::query_as("select run, task, map_index, attempt, try_no, lease_no, state::text from task_instance")
                .fetch_all(&mut *db)
                .await?;
        let mut instances: HashMap<Uuid, BTreeMap<_, _>> = HashMap::new();
        for (run, task, index, attempt, try_no, lease_no, word) in rows {
            let row = InstanceRow { attempt, try_no, lease_no, state: state(word.as_deref()) };
            instances.entry(run).or_default().insert((task as TaskIdx, index), row);
        }
        type AttemptColumns = (Uuid, i16, i32, Uuid, i16, i32, Option<String>);
        let rows: Vec<AttemptColumns> = sqlx::query_as(
            "select run, task, map_index, attempt, try_no, lease_no, state::text from attempt order by try_no",
        )
        .fetch_all(&mut *db)
        .await?;
        let mut tries: HashMap<_, Vec<_>> = HashMap::new();
        for (run, task, index, attempt, try_no, lease_no, word) in rows {
            let row = TryRow { attempt, try_no, lease_no, state: state(word.as_deref()) };
            tries.entry((run, task as TaskIdx, index)).or_default().push(row);
        }
        let failures: Vec<Uuid> = sqlx::query_scalar("select attempt from failure").fetch_all(&mut *db).await?;
        let outputs: Vec<(Uuid, i16, i32, String)> = sqlx::query_as(
            "select run, task, map_index, value::text from output where key = 'return_value' and value is not null",
        )
        .fetch_all(&mut *db)
        .await?;
        let outputs =
            outputs.into_iter().map(|(run, task, index, text)| ((run, task as TaskIdx, index), text)).collect();
        let rows: Vec<(Uuid, String, i32, Uuid, i32)> =
            sqlx::query_as("select run, task_id, map_index, attempt, lease_no from lake.published")
                .fetch_all(&mut *db)
                .await?;
        let mut published: HashMap<_, Vec<_>> = HashMap::new();
        for (run, task_id, index, attempt, lease_no) in rows {
            published.entry((run, task_id, index)).or_default().push((attempt, lease_no));
        }
        let ids: Vec<i32> = runs.iter().map(|r| r.version).collect::<HashSet<_>>().into_iter().collect();
        let loaded = load_all(&mut db, &ids).await.unwrap_or_else(|error| panic!("versions: {error}"));
        let versions = loaded.into_iter().map(|version| (version.id, Arc::new(version))).collect();
        let failures = failures.into_iter().collect();
        Ok(Rows { runs, versions, instances, tries, failures, outputs, published })
    }
}

/// Returns a message for each table with rows that must be gone when all runs are finished.
pub(super) async fn left_behind(pool: &PgPool) -> Vec<String> {
    let questions = [
        ("claimable instances", "select count(*) from ready"),
        ("waiting tries", "select count(*) from waiting"),
        ("held elements", "select count(*) from held"),
        ("unfolded outcomes", "select count(*) from unfolded"),
        ("orders to stop", "select count(*) from stop_order"),
        ("rows of skipped instances that are not written", "select count(*) from unwritten_skip"),
        ("workers that seem to live", "select count(*) from worker where state in ('running', 'draining')"),
        (
            "sessions",
            "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'orch%'",
        ),
        (
            "rows of runs that do not exist",
            "select count(*) from task_instance t where not exists (select from dag_run r where r.id = t.run)",
        ),
        (
            "dates with two runs",
            "select count(*) from (select from dag_run where logical_date is not null
                group by dag_id, logical_date having count(*) > 1) twice",
        ),
        (
            "keys with two runs",
            "select count(*) from (select from dag_run_detail where idempotency_key is not null
                group by idempotency_key having count(*) > 1) twice",
        ),
    ];
    let mut left = Vec::new();
    for (what, sql) in questions {
        // A terminated session may take a short time to disappear.
        let mut many = 0;
        for _ in 0..40 {
            many = sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            if many == 0 || what != "sessions" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        if many > 0 {
            left.push(format!("{many} {what} are left behind"));
        }
    }
    left
}
