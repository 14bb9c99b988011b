//! The database that is loaded into, where it is ours to make: beside the metadata, for people and their tools.

use super::connect;
use crate::boxed;
use orch_sdk::task::{Connection, TaskResult, fatal};
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
    let create = format!("create database \"{}\"", name.replace('"', "\"\""));
    let Err(error) = db.batch_execute(&create).await else { return Ok(()) };
    match error.code() {
        // Another session made it in the same instant.
        Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION) => Ok(()),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let user: String = db.query_one("select current_user::text", &[]).await?.get(0);
            let id = &target.id;
            Err(fatal(format!(
                "the database `{name}` of connection `{id}` is not there, and user `{user}` may not make it\nhint: as an administrator, \
                `{create} owner \"{user}\"` or `alter role \"{user}\" createdb`; or add a connection `{id}` that leads to another database"
            )))
        }
        _ => Err(error.into()),
    }
}
