//! The `sql` task: runs a statement in Postgres.

use super::field::FieldInputs;
use super::statement::{Database, Rows, Statement};
use crate::{Call, Ctx, TaskResult};
use anyhow::bail;
use orch_workers::outside::postgres::{ask, cancel, connection_error, options, session};
use sqlx::{ConnectOptions, Connection};

/// A connection of type `postgres`.
#[derive(Debug, Clone, Copy)]
pub struct PostgresServer;

/// A statement for Postgres. Its parameters are `$1`, `$2`, …, converted to the types that the statement expects.
pub type Sql = Statement<PostgresServer>;

/// Runs one statement in Postgres. When the task is stopped, the statement is cancelled on the server, too.
#[track_caller]
pub fn sql<'d, I: Into<FieldInputs<'d>>>(sql: Statement<PostgresServer, I>) -> Call<'d, Rows> {
    sql.call()
}

impl Database for PostgresServer {
    const KIND: &'static str = "sql";

    async fn ask(sql: &Sql, ctx: &Ctx) -> TaskResult<Rows> {
        let options = options(&ctx.connection(&sql.connection).await?, Some(sql.timeout()))?;
        let connected = options.connect().await;
        let mut db = connected.map_err(|error| connection_error(&sql.connection, &error))?;
        let session = session(&mut db).await?;
        let found = tokio::select! {
            found = ask(&mut db, &sql.statement, &sql.params, sql.most_rows) => found?,
            () = ctx.cancelled() => {
                ctx.warning("cancelled: ending the statement");
                cancel(&options, session).await?;
                bail!("cancelled")
            }
        };
        db.close().await.ok(); // all results were read
        Ok(found)
    }
}
