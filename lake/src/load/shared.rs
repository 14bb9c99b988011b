//! Objects shared by all loads into a schema: the schema itself and tables of orch. They are created in a short
//! separate transaction, so that concurrent loads do not wait for each other's rows.

use super::types::quoted;
use anyhow::bail;
use orch_sdk::task::{Connection, TaskResult};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Maximum number of attempts. Other sessions may create the same objects concurrently; the next attempt finds them.
const TRIES: u32 = 5;
const LOCK_TIMEOUT: &str = "set local lock_timeout = '30s'";

/// A table of orch in the schema of a target.
pub(super) struct SharedTable {
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
}

impl SharedTable {
    /// Returns the quoted name.
    pub(super) fn name_in(&self, schema: &str) -> String {
        format!("{}.{}", quoted(schema), self.name)
    }
}

/// Returns true if the table exists as of this statement. `to_regclass` is not enough: within a transaction, a session
/// caches that a name was free, and misses that another session has committed it if nothing else queries the catalog.
pub(super) async fn is_there(schema: &str, table: &str, db: &Client) -> Result<bool, Error> {
    let there = "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2)";
    Ok(db.query_one(there, &[&schema, &table]).await?.get(0))
}

/// Creates missing objects on a separate session. `db` is only queried, so its transaction is not disturbed.
pub(super) async fn ensure(
    schema: &str,
    table: Option<&SharedTable>,
    connection: &Connection,
    db: &Client,
) -> TaskResult<()> {
    if missing(schema, table, db).await?.is_empty() {
        return Ok(());
    }
    let own = super::connect(connection).await?;
    for _ in 0..TRIES {
        match make(schema, table, &own).await {
            Err(error) if made_meanwhile(&error) => own.batch_execute("rollback").await?,
            made => return Ok(made?),
        }
    }
    bail!("schema {} was changed by others at the same moment, {TRIES} times in a row", quoted(schema))
}

/// Returns the statements that create missing objects. Checking first has two reasons: a user who may write into a
/// schema may lack the privilege to create one, and `if not exists` would cause a notice in the task's log at each
/// load.
async fn missing(schema: &str, table: Option<&SharedTable>, db: &Client) -> Result<Vec<String>, Error> {
    let name = table.map(|table| table.name_in(schema));
    let schema = quoted(schema);
    let there = "select to_regnamespace($1) is not null, $2::text is null or to_regclass($2::text) is not null";
    let there = db.query_one(there, &[&schema, &name]).await?;
    let mut statements = Vec::new();
    if !there.get::<_, bool>(0) {
        statements.push(format!("create schema if not exists {schema}"));
    }
    if let (Some(table), Some(name), false) = (table, name, there.get::<_, bool>(1)) {
        statements.push(format!("create table if not exists {name} ({})", table.columns));
    }
    Ok(statements)
}

async fn make(schema: &str, table: Option<&SharedTable>, db: &Client) -> Result<(), Error> {
    db.batch_execute(&["begin", LOCK_TIMEOUT].join("; ")).await?;
    // Not the lock of a table, because the name has no dot.
    db.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&quoted(schema)]).await?;
    for statement in missing(schema, table, db).await? {
        db.batch_execute(&statement).await?;
    }
    db.batch_execute("commit").await
}

/// Returns true if another session created the same object concurrently. `if not exists` does not help until that
/// session commits: the server reports a duplicate or concurrently updated catalog row.
fn made_meanwhile(error: &Error) -> bool {
    error.as_db_error().is_some_and(|refusal| match *refusal.code() {
        SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_SCHEMA | SqlState::DUPLICATE_TABLE => true,
        SqlState::INTERNAL_ERROR => refusal.message().contains("concurrently"),
        _ => false,
    })
}
