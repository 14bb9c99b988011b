//! Takes runs away with all that belongs to them.

use crate::{StoreResult, boxed};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// What became of a wish to delete a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteRun {
    Deleted,
    NoSuchRun,
    /// Cancel it first.
    Running,
}

#[boxed]
pub async fn delete_run(db: &mut PgConnection, dag_id: &str, run_id: &str) -> StoreResult<DeleteRun> {
    let found = sqlx::query!(
        r#"select id, state = 'running' as "running!" from dag_run where dag_id = $1 and run_id = $2"#,
        dag_id,
        run_id
    );
    match found.fetch_optional(&mut *db).await? {
        None => Ok(DeleteRun::NoSuchRun),
        Some(run) if run.running => Ok(DeleteRun::Running),
        // It may have begun just now.
        Some(run) => Ok(if delete_runs(db, &[run.id]).await? == 1 { DeleteRun::Deleted } else { DeleteRun::Running }),
    }
}

/// Deletes those of these runs that are not running; how many those were.
#[boxed]
pub async fn delete_runs(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<usize> {
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
    sqlx::query_file!("queries/run/delete_rows.sql", &runs).execute(&mut *tx).await?;
    sqlx::query!("delete from dag_run where id = any($1)", &runs).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(runs.len())
}
