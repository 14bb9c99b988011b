//! What a backup of the metadata holds, and how a database makes room for one that is restored. The copying itself is done by
//! Postgres' own programs, by whoever calls this.
//!
//! What stood there before is set aside and comes back when the restored one is not whole.

use crate::StoreResult;
use crate::guard::SCHEMA_VERSION;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Schemas that are orch's own. Others of the same database are their users'.
pub const SCHEMAS: [&str; 2] = ["public", "lake"];

/// What is in a database of orch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub schema_version: i32,
    pub dags: i64,
    pub runs: i64,
    pub connections: i64,
    pub variables: i64,
}

/// The schema has to fit.
pub async fn contents(db: &mut PgConnection) -> StoreResult<Contents> {
    let found = sqlx::query!(
        r#"select (select count(*) from dag) as "dags!", (select count(*) from dag_run) as "runs!",
          (select count(*) from connection) as "connections!", (select count(*) from variable) as "variables!""#
    );
    let found = found.fetch_one(db).await?;
    let (dags, runs) = (found.dags, found.runs);
    let (connections, variables) = (found.connections, found.variables);
    Ok(Contents { schema_version: SCHEMA_VERSION, dags, runs, connections, variables })
}

/// The version of the server, as `15`.
pub async fn server_major(db: &mut PgConnection) -> StoreResult<u32> {
    let number = sqlx::query_scalar!(r#"select current_setting('server_version_num')::integer / 10000 as "major!""#);
    Ok(number.fetch_one(db).await?.unsigned_abs())
}

/// Whether there is anything in orch's schemas, of orch or of others.
pub async fn is_empty(db: &mut PgConnection) -> StoreResult<bool> {
    let schemas = SCHEMAS.map(String::from);
    let found = sqlx::query_scalar!(
        r#"select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname = any($1::text[])) as "empty!""#,
        &schemas[..]
    );
    Ok(found.fetch_one(db).await?)
}

/// Processes of orch with a connection to this database besides the one that asks.
pub async fn who_is_here(db: &mut PgConnection) -> StoreResult<Vec<String>> {
    let names = sqlx::query_scalar!(
        r#"select distinct application_name as "name!" from pg_stat_activity where datname = current_database()
          and pid <> pg_backend_pid() and application_name like 'orch %' order by 1 limit 20"#
    );
    Ok(names.fetch_all(db).await?)
}

/// Puts what is there out of the way, so that orch's schemas are free. What was left aside before goes.
pub async fn set_aside(db: &mut PgConnection) -> StoreResult<()> {
    // Locks of thousands of partitions.
    sqlx::query("set statement_timeout = 0").execute(&mut *db).await?;
    let mut tx = db.begin().await?;
    sqlx::query("drop schema if exists orch_aside_public, orch_aside_lake cascade").execute(&mut *tx).await?;
    sqlx::query("alter schema public rename to orch_aside_public").execute(&mut *tx).await?;
    if has_lake(&mut tx).await? {
        sqlx::query("alter schema lake rename to orch_aside_lake").execute(&mut *tx).await?;
    }
    sqlx::query("create schema public").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// What was set aside is there again, in the place of whatever came since.
pub async fn put_back(db: &mut PgConnection) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    sqlx::query("drop schema if exists public, lake cascade").execute(&mut *tx).await?;
    sqlx::query("alter schema orch_aside_public rename to public").execute(&mut *tx).await?;
    let was_there = sqlx::query_scalar!(r#"select to_regnamespace('orch_aside_lake') is not null as "there!""#);
    if was_there.fetch_one(&mut *tx).await? {
        sqlx::query("alter schema orch_aside_lake rename to lake").execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What was set aside goes; what was restored gets the role that steps of tasks work as, which a backup does not carry:
/// roles belong to the server.
pub async fn settle(db: &mut PgConnection) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    sqlx::query("drop schema if exists orch_aside_public, orch_aside_lake cascade").execute(&mut *tx).await?;
    sqlx::raw_sql(include_str!("../queries/backup/give_role.sql")).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn has_lake(db: &mut PgConnection) -> StoreResult<bool> {
    let found = sqlx::query_scalar!(r#"select to_regnamespace('lake') is not null as "there!""#);
    Ok(found.fetch_one(db).await?)
}
