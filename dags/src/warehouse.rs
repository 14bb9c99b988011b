//! The database that pipelines load into, where it is ours to make: beside the metadata, for people and their tools.

use crate::connections::CREATE;
use orch::{Connection, TaskResult};
use orch_lake::load;
use sqlx::AssertSqlSafe;

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
    let mut db = load::connect(&Connection { schema: Some("postgres".into()), ..target.clone() }).await?;
    let is_there = "select exists (select from pg_database where datname = $1)";
    if sqlx::query_scalar(is_there).bind(name).fetch_one(&mut db).await? {
        return Ok(());
    }
    let create = format!("create database \"{}\"", name.replace('"', "\"\""));
    match sqlx::query(AssertSqlSafe(create)).execute(&mut db).await {
        Ok(_) => Ok(()),
        // 42P04, or 23505 in the same instant: somebody was faster.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "42P04" || code == "23505") => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
