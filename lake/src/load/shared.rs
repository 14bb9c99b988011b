//! What all loads into a schema share: the schema itself and tables of orch. They are made in a short transaction of their
//! own, so that of loads that begin at the same time each finds them and none waits for another's rows.

use super::types::quoted;
use anyhow::bail;
use orch_sdk::task::{Connection, TaskResult};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// Others than loads may make the same at the same moment; the next look finds what they made.
const TRIES: u32 = 5;
const LOCK_TIMEOUT: &str = "set local lock_timeout = '30s'";

/// A table of orch in a schema that it loads into.
pub(super) struct SharedTable {
    pub(super) name: &'static str,
    pub(super) columns: &'static str,
}

impl SharedTable {
    /// As it is written in statements.
    pub(super) fn name_in(&self, schema: &str) -> String {
        format!("{}.{}", quoted(schema), self.name)
    }
}

/// Whether there is such a table as of this statement. `to_regclass` would not say: a session goes on knowing within a transaction
/// that a name was free, and does not hear that another one has committed it, if nothing else asks the catalog.
pub(super) async fn is_there(schema: &str, table: &str, db: &Client) -> Result<bool, Error> {
    let there = "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2)";
    Ok(db.query_one(there, &[&schema, &table]).await?.get(0))
}

/// Makes what is missing. `db` only looks: what it has begun is not disturbed.
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

/// The statements that make what is not there yet. Asked first: a user who may write into a schema need not be allowed
/// to make one, and "already exists" would be a notice in the task's log at each load.
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
    // Not the lock of a table: its name has no point.
    db.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&quoted(schema)]).await?;
    for statement in missing(schema, table, db).await? {
        db.batch_execute(&statement).await?;
    }
    db.batch_execute("commit").await
}

/// `if not exists` is no help against another session that makes the same and has not committed yet: the server says
/// that a row of its catalog is there twice, or was changed meanwhile.
fn made_meanwhile(error: &Error) -> bool {
    error.as_db_error().is_some_and(|refusal| match *refusal.code() {
        SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_SCHEMA | SqlState::DUPLICATE_TABLE => true,
        SqlState::INTERNAL_ERROR => refusal.message().contains("concurrently"),
        _ => false,
    })
}
