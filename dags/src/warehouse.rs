//! The database that pipelines load into, where it is ours to make: beside the metadata, for people and their tools.

use crate::connections::CREATE;
use orch::{Connection, TaskResult};
use orch_lake::load;
use tokio_postgres::error::SqlState;

/// Makes the database of a connection that says so (`create_database` in its extra), if it is not there.
///
/// # Errors
/// The server cannot be reached, or does not let us.
pub(crate) async fn ensure(target: &Connection) -> TaskResult<()> {
    if target.extra_field(CREATE) != Some(&true.into()) {
        return Ok(());
    }
    let Some(name) = target.schema.as_deref() else { return Ok(()) };
    // Every server has this one.
    let db = load::connect(&Connection { schema: Some("postgres".into()), ..target.clone() }).await?;
    let is_there = "select exists (select from pg_database where datname = $1)";
    if db.query_one(is_there, &[&name]).await?.get(0) {
        return Ok(());
    }
    match db.batch_execute(&format!("create database \"{}\"", name.replace('"', "\"\""))).await {
        // In the same instant somebody was faster.
        Err(error) if !matches!(error.code(), Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION)) => {
            Err(error.into())
        }
        _ => Ok(()),
    }
}
