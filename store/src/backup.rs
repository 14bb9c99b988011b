//! Describes the contents of a metadata backup, and moves existing schemas out of the way of a restore. The caller
//! copies the data with Postgres' own programs.
//!
//! Existing schemas are renamed, and renamed back if the restored data is not complete.

use crate::{StoreResult, boxed, guard::SCHEMA_VERSION};
use sqlx::AssertSqlSafe;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Schemas of orch: one for its tables, and one for tables that completion steps write. Other schemas of the database
/// belong to users, and are backed up only on request.
pub const SCHEMAS: [&str; 2] = ["public", "lake"];
/// Name prefix of schemas that were renamed before a restore.
const ASIDE: &str = "orch_aside_";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub schema_version: i32,
    pub dags: i64,
    pub runs: i64,
    pub connections: i64,
    pub variables: i64,
}

/// Counts the rows that a backup of this database would contain. The schema must have the version of this binary.
#[boxed]
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

/// Returns the major version of the server, such as `15`.
#[boxed]
pub async fn server_major(db: &mut PgConnection) -> StoreResult<u32> {
    let number = sqlx::query_scalar!(r#"select current_setting('server_version_num')::integer / 10000 as "major!""#);
    Ok(number.fetch_one(db).await?.unsigned_abs())
}

/// A schema in the same database that does not belong to orch, such as one that pipelines created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherSchema {
    pub name: String,
    pub tables: i64,
    pub bytes: i64,
}

/// Returns the schemas that do not belong to orch, by name. Empty ones are omitted.
#[boxed]
pub async fn other_schemas(db: &mut PgConnection) -> StoreResult<Vec<OtherSchema>> {
    let own = SCHEMAS.map(String::from);
    let found = sqlx::query_as!(
        OtherSchema,
        r#"select n.nspname::text as "name!", count(*) as "tables!", sum(pg_table_size(c.oid))::bigint as "bytes!"
        from pg_namespace n join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')
        where n.nspname <> all($1::text[]) and n.nspname !~ '^(pg_|information_schema$|orch_aside_)'
          and not exists (select from pg_depend d where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e')
        group by n.nspname order by n.nspname limit 1000"#,
        &own[..]
    );
    Ok(found.fetch_all(db).await?)
}

/// True if these schemas contain no objects, neither of orch nor of users.
#[boxed]
pub async fn is_empty(db: &mut PgConnection, schemas: &[String]) -> StoreResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
          where n.nspname = any($1::text[])) as "empty!""#,
        schemas
    );
    Ok(found.fetch_one(db).await?)
}

/// Returns the names of other orch processes with a connection to this database.
#[boxed]
pub async fn who_is_here(db: &mut PgConnection) -> StoreResult<Vec<String>> {
    let names = sqlx::query_scalar!(
        r#"select distinct application_name as "name!" from pg_stat_activity where datname = current_database()
          and pid <> pg_backend_pid() and application_name like 'orch %' order by 1 limit 20"#
    );
    Ok(names.fetch_all(db).await?)
}

/// True if `set_aside` can rename the schema: with the prefix, its name must fit into the 63 bytes that Postgres
/// allows.
pub fn can_be_set_aside(schema: &str) -> bool {
    ASIDE.len() + schema.len() <= 63
}

/// Renames these schemas, which include orch's, to free their names for a restore. Drops schemas that an earlier
/// restore renamed.
#[boxed]
pub async fn set_aside(db: &mut PgConnection, schemas: &[String]) -> StoreResult<()> {
    // Renaming and dropping lock thousands of partitions, which can take longer than the statement timeout.
    sqlx::query("set statement_timeout = 0").execute(&mut *db).await?;
    let mut tx = db.begin().await?;
    drop_aside(&mut tx).await?;
    let there = sqlx::query_scalar!(
        r#"select nspname::text as "name!" from pg_namespace where nspname = any($1::text[]) order by nspname"#,
        schemas
    );
    for schema in there.fetch_all(&mut *tx).await? {
        change(&mut tx, format!("alter schema {} rename to {}", quoted(&schema), quoted(&format!("{ASIDE}{schema}"))))
            .await?;
    }
    sqlx::query("create schema public").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives the schemas that [`set_aside`] renamed their old names. Schemas that have these names now are dropped.
#[boxed]
pub async fn put_back(db: &mut PgConnection) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    for aside in aside(&mut tx).await? {
        let schema = quoted(aside.strip_prefix(ASIDE).unwrap_or(&aside));
        change(&mut tx, format!("drop schema if exists {schema} cascade")).await?;
        change(&mut tx, format!("alter schema {} rename to {schema}", quoted(&aside))).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn aside(db: &mut PgConnection) -> StoreResult<Vec<String>> {
    let found = sqlx::query_scalar!(
        r#"select nspname::text as "name!" from pg_namespace where starts_with(nspname::text, $1) order by nspname"#,
        ASIDE
    );
    Ok(found.fetch_all(db).await?)
}

async fn drop_aside(db: &mut PgConnection) -> StoreResult<()> {
    for aside in aside(db).await? {
        change(db, format!("drop schema {} cascade", quoted(&aside))).await?;
    }
    Ok(())
}

/// Executes a statement that contains names of schemas, which cannot be bound as parameters.
async fn change(db: &mut PgConnection, text: String) -> StoreResult<()> {
    sqlx::query(AssertSqlSafe(text)).execute(db).await?;
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Drops the schemas that [`set_aside`] renamed, and grants the restored ones to the role of completion steps. The
/// grants are not in the backup, because roles belong to the server.
#[boxed]
pub async fn settle(db: &mut PgConnection) -> StoreResult<()> {
    let mut tx = db.begin().await?;
    drop_aside(&mut tx).await?;
    sqlx::raw_sql(include_str!("../queries/backup/give_role.sql")).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}
