//! Creates the target database of a load if its connection sets `create_database`. By default, loads go to a separate
//! database on the server of orch's metadata database, for users and BI tools.

use super::connect;
use crate::boxed;
use orch_sdk::task::{Connection, TaskResult, fatal};
use tokio_postgres::error::SqlState;

/// Key in the `extra` of a connection. If it is true, the database is created if it does not exist.
pub const CREATE_DATABASE: &str = "create_database";

/// Creates the database of a connection if it does not exist and `create_database` is set in the `extra`.
///
/// # Errors
/// Returns an error if the server cannot be reached or the user lacks the privilege.
#[boxed]
pub async fn ensure_database(target: &Connection) -> TaskResult<()> {
    if target.extra_field(CREATE_DATABASE) != Some(&true.into()) {
        return Ok(());
    }
    let Some(name) = target.schema.as_deref() else { return Ok(()) };
    // Connects to the database `postgres`, which exists on every server.
    let db = connect(&Connection { schema: Some("postgres".into()), ..target.clone() }).await?;
    let is_there = "select exists (select from pg_database where datname = $1)";
    if db.query_one(is_there, &[&name]).await?.get(0) {
        return Ok(());
    }
    let create = format!("create database \"{}\"", name.replace('"', "\"\""));
    let Err(error) = db.batch_execute(&create).await else { return Ok(()) };
    match error.code() {
        // Another session has created the database concurrently.
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
