//! Creates objects that all loads into a schema share: the schema itself and orch's own tables. They are created in a
//! short separate transaction, so that concurrent loads do not wait for each other.

use super::types::quoted;
use anyhow::bail;
use orch_sdk::task::{Connection, TaskResult};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Maximum number of attempts. An attempt fails if another session creates the same objects concurrently; the next
/// attempt finds them.
const TRIES: u32 = 5;
const LOCK_TIMEOUT: &str = "set local lock_timeout = '30s'";

/// One of orch's own tables, in the schema of a load's target.
pub(super) struct SharedTable {
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
}

impl SharedTable {
    /// Returns the quoted table name with the schema.
    pub(super) fn name_in(&self, schema: &str) -> String {
        format!("{}.{}", quoted(schema), self.name)
    }
}

/// Returns true if the table exists when this statement runs. `to_regclass` is unreliable here: within a transaction,
/// a session caches that a name was unused. It does not notice that another session has created the table until it
/// queries the catalog for another reason.
pub(super) async fn is_there(schema: &str, table: &str, db: &Client) -> Result<bool, Error> {
    let there = "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2)";
    Ok(db.query_one(there, &[&schema, &table]).await?.get(0))
}

/// Creates missing objects on a separate session. The session `db` only runs queries, so its transaction cannot fail.
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

/// Returns the statements that create the missing objects. `if not exists` is not used alone for two reasons. A user
/// who may write to a schema may lack the privilege to create one. And it causes a notice in the task's log at each
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
    // This lock cannot conflict with the lock of a table, because the hashed name contains no dot.
    db.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&quoted(schema)]).await?;
    for statement in missing(schema, table, db).await? {
        db.batch_execute(&statement).await?;
    }
    db.batch_execute("commit").await
}

/// Returns true if another session created the same object concurrently. `if not exists` does not prevent this error:
/// until the other session commits, the server reports a duplicate or a concurrently updated catalog row.
fn made_meanwhile(error: &Error) -> bool {
    error.as_db_error().is_some_and(|refusal| match *refusal.code() {
        SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_SCHEMA | SqlState::DUPLICATE_TABLE => true,
        SqlState::INTERNAL_ERROR => refusal.message().contains("concurrently"),
        _ => false,
    })
}
