//! The `sql` task: a statement for a Postgres.

use super::operator::Operator;
use crate::{BoxFuture, Call, Ctx, TaskResult};
use anyhow::{Context, bail};
use orch_workers::outside::postgres::{Rows, ask, cancel, options, session};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{ConnectOptions, Connection};
use std::time::Duration;

/// A statement, and for whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// The id of a connection of type `postgres`.
    pub connection: String,
    pub statement: String,
    /// `$1`, `$2`, …, given as the types that the statement expects; never part of its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
    /// Of more rows the first so many are kept, and `more` says so.
    #[serde(default = "thousand")]
    pub most_rows: usize,
    #[serde(default = "hour")]
    pub timeout_ms: u64,
}

fn thousand() -> usize {
    1_000
}

fn hour() -> u64 {
    60 * 60 * 1_000
}

/// What a statement gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SqlOutput {
    pub columns: Vec<String>,
    /// An object each.
    pub rows: Vec<Value>,
    /// There were more.
    pub more: bool,
    /// How many rows it gave or changed.
    pub affected: u64,
}

/// Sends one statement to a Postgres. When the task is stopped the server stops it too.
#[track_caller]
pub fn sql<'d>(sql: Sql) -> Call<'d, SqlOutput> {
    sql.call()
}

impl Sql {
    pub fn new(connection: &str, statement: &str) -> Sql {
        Sql {
            connection: connection.into(),
            statement: statement.into(),
            params: Vec::new(),
            most_rows: thousand(),
            timeout_ms: hour(),
        }
    }

    /// The next of `$1`, `$2`, …
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn param(mut self, value: impl Serialize) -> Sql {
        self.params.push(serde_json::to_value(value).expect("a param is JSON"));
        self
    }

    #[must_use]
    pub fn most_rows(mut self, rows: usize) -> Sql {
        self.most_rows = rows;
        self
    }

    /// The server ends the statement after so long.
    #[must_use]
    pub fn statement_timeout(mut self, limit: Duration) -> Sql {
        self.timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

async fn go(sql: Sql, ctx: &Ctx) -> TaskResult<SqlOutput> {
    let limit = Duration::from_millis(sql.timeout_ms);
    let options = options(&ctx.connection(&sql.connection).await?, Some(limit))?;
    let connected = options.connect().await;
    let mut db = connected.with_context(|| format!("cannot reach the database of `{}`", sql.connection))?;
    let session = session(&mut db).await?;
    let found = tokio::select! {
        found = ask(&mut db, &sql.statement, &sql.params, sql.most_rows) => found?,
        () = ctx.cancelled() => {
            ctx.warning("cancelled: ending the statement");
            cancel(&options, session).await?;
            bail!("cancelled")
        }
    };
    db.close().await.ok(); // it has said all
    let Rows { columns, rows, more, affected } = found;
    if more {
        ctx.warning(format!("there are more than {} rows: the rest is left out", sql.most_rows));
    }
    ctx.progress(affected, 0);
    Ok(SqlOutput { columns, rows, more, affected })
}

impl Operator for Sql {
    const KIND: &'static str = "sql";
    type Output = SqlOutput;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<SqlOutput>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}
