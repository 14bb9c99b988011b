//! Deletes runs together with all their rows in other tables.

use crate::{
    StoreResult, boxed,
    locks::{Locks, Runs},
};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteRun {
    Deleted,
    NoSuchRun,
    /// The run is still running, so it must be cancelled before it can be deleted.
    Running,
}

#[boxed]
pub async fn delete_run(
    db: &mut PgConnection,
    locks: &Locks<Runs>,
    dag_id: &str,
    run_id: &str,
) -> StoreResult<DeleteRun> {
    let found = sqlx::query!(
        r#"select id, state = 'running' as "running!" from dag_run where dag_id = $1 and run_id = $2"#,
        dag_id,
        run_id
    );
    match found.fetch_optional(&mut *db).await? {
        None => Ok(DeleteRun::NoSuchRun),
        Some(run) if run.running => Ok(DeleteRun::Running),
        // The run may have started since it was loaded, so `delete_runs` checks its state again.
        Some(run) => Ok(match delete_runs(db, locks, &[run.id]).await? {
            1 => DeleteRun::Deleted,
            _ => DeleteRun::Running,
        }),
    }
}

/// Deletes those of the given runs that are not running. Returns the number of deleted runs.
#[boxed]
pub async fn delete_runs(db: &mut PgConnection, _locks: &Locks<Runs>, runs: &[Uuid]) -> StoreResult<usize> {
    let mut tx = db.begin().await?;
    let runs = sqlx::query_scalar!(
        "select id from dag_run where id = any($1) and state <> 'running' order by id for update",
        runs
    )
    .fetch_all(&mut *tx)
    .await?;
    if runs.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    // This waits for a scheduler that is writing rows of these runs.
    sqlx::query("delete from unwritten_skip where run = any($1)").bind(&runs).execute(&mut *tx).await?;
    delete_large(&mut tx, &runs).await?;
    sqlx::query_file!("queries/run/delete_rows.sql", &runs).execute(&mut *tx).await?;
    sqlx::query!("delete from dag_run where id = any($1)", &runs).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(runs.len())
}

/// Maximum number of rows that one statement deletes, so that the statement ends before the statement timeout.
const MAX_ROWS: i64 = 5_000;

/// Tables that may contain many rows of a run. Each is listed with the columns that follow `run` in its primary key.
const LARGE: [(&str, &[&str]); 7] = [
    ("task_instance", &["task", "map_index"]),
    ("attempt", &["task", "map_index", "attempt"]),
    ("failure", &["attempt", "lease_no"]),
    ("output", &["task", "map_index", "key"]),
    ("output_part", &["task", "map_index", "key", "part"]),
    ("log_chunk", &["attempt", "lease_no", "seq"]),
    ("lineage", &["task_id", "map_index", "from_uri", "to_uri"]),
];

/// Deletes the rows of the large tables in batches, because deleting all rows of a large run in a single statement
/// could exceed the statement timeout.
async fn delete_large(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<()> {
    let is_large = |(table, _): &(&str, &[&str])| {
        format!("exists (select from {table} where run = any($1) offset {MAX_ROWS}) as {table}")
    };
    let text = format!("select {}", LARGE.iter().map(is_large).collect::<Vec<_>>().join(", "));
    let found = sqlx::query(AssertSqlSafe(text)).bind(runs).fetch_one(&mut *db).await?;
    for (table, key) in LARGE {
        if !sqlx::Row::try_get::<bool, _>(&found, table)? {
            continue;
        }
        let same = key.iter().map(|column| format!("t.{column} = d.{column}")).collect::<Vec<_>>().join(" and ");
        let text = format!(
            "delete from {table} t using (select run, {} from {table} where run = any($1) limit {MAX_ROWS}) d
            where t.run = any($1) and t.run = d.run and {same}",
            key.join(", ")
        );
        while sqlx::query(AssertSqlSafe(text.as_str())).bind(runs).execute(&mut *db).await?.rows_affected() > 0 {}
    }
    Ok(())
}
