//! The database that is loaded into, where it is ours to make: beside the metadata, for people and their tools.

use super::connect;
use crate::boxed;
use orch_sdk::task::{Connection, TaskResult};
use tokio_postgres::error::SqlState;

/// In the extra of a connection: its database is made when it is missing.
pub const CREATE_DATABASE: &str = "create_database";

/// Makes the database of a connection that says so (`create_database` in its extra), if it is not there.
///
/// # Errors
/// The server cannot be reached, or does not let us.
#[boxed]
pub async fn ensure_database(target: &Connection) -> TaskResult<()> {
    if target.extra_field(CREATE_DATABASE) != Some(&true.into()) {
        return Ok(());
    }
    let Some(name) = target.schema.as_deref() else { return Ok(()) };
    // Every server has this one.
    let db = connect(&Connection { schema: Some("postgres".into()), ..target.clone() }).await?;
    let is_there = "select exists (select from pg_database where datname = $1)";
    if db.query_one(is_there, &[&name]).await?.get(0) {
        return Ok(());
    }
    match db.batch_execute(&format!("create database \"{}\"", name.replace('"', "\"\""))).await {
        // Another session made it in the same instant.
        Err(error) if !matches!(error.code(), Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION)) => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
