//! Statements for MySQL, and waits for what they give.

use orch::wait::{is_truthy, read};
use orch::{Awaited, BoxFuture, Call, Condition, Ctx, Deferral, Eyes, Look, Operator, TaskResult, Wait, fatal};
use orch_lake::source::mysql::Server;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A look that takes longer is no look.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// A statement, and for whom.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mysql {
    /// The id of a connection of type `mysql`.
    pub connection: String,
    pub statement: String,
    /// One for each `?`, never part of its text.
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
pub struct MysqlAnswer {
    pub columns: Vec<String>,
    /// An object each; decimals and dates are texts.
    pub rows: Vec<Value>,
    /// There were more.
    pub more: bool,
    /// How many rows it gave or changed.
    pub affected: u64,
}

/// Sends one statement to a MySQL. When the task is stopped the server stops it too.
#[track_caller]
pub fn mysql<'d>(mysql: Mysql) -> Call<'d, MysqlAnswer> {
    mysql.call()
}

impl Mysql {
    pub fn new(connection: &str, statement: &str) -> Mysql {
        Mysql {
            connection: connection.into(),
            statement: statement.into(),
            params: Vec::new(),
            most_rows: thousand(),
            timeout_ms: hour(),
        }
    }

    /// The next `?`.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn param(mut self, value: impl Serialize) -> Mysql {
        self.params.push(json(value));
        self
    }

    #[must_use]
    pub fn most_rows(mut self, rows: usize) -> Mysql {
        self.most_rows = rows;
        self
    }

    /// The server is told to end the statement after so long.
    #[must_use]
    pub fn statement_timeout(mut self, limit: Duration) -> Mysql {
        self.timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("a param is JSON")
}

async fn go(mysql: Mysql, ctx: &Ctx) -> TaskResult<MysqlAnswer> {
    let server = Server::of(&ctx.connection(&mysql.connection).await?)?;
    let limit = Duration::from_millis(mysql.timeout_ms);
    let answer = server.ask(&mysql.statement, &mysql.params, mysql.most_rows, limit, ctx.cancelled()).await?;
    if answer.more {
        ctx.warning(format!("there are more than {} rows: the rest is left out", mysql.most_rows));
    }
    ctx.progress(answer.affected, 0);
    Ok(MysqlAnswer { columns: answer.columns, rows: answer.rows, more: answer.more, affected: answer.affected })
}

impl Operator for Mysql {
    const KIND: &'static str = "mysql";
    type Output = MysqlAnswer;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<MysqlAnswer>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}

/// A question whose answer is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlWait {
    pub connection: String,
    pub statement: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
}

/// Until the first cell of the first row is neither null, 0 nor empty: gives the row.
pub fn mysql_query(connection: &str, statement: &str) -> MysqlWait {
    MysqlWait { connection: connection.into(), statement: statement.into(), params: Vec::new() }
}

impl MysqlWait {
    const KIND: &'static str = "mysql_query";

    /// The next `?`.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn param(mut self, value: impl Serialize) -> MysqlWait {
        self.params.push(json(value));
        self
    }
}

impl Wait for MysqlWait {
    fn awaited(self) -> Awaited {
        Awaited::new(Self::KIND, self)
    }
}

impl From<MysqlWait> for Deferral {
    fn from(wait: MysqlWait) -> Deferral {
        Deferral::from(wait.awaited())
    }
}

/// Asks the questions: a DAG that waits for an answer has it by `dag("…").condition(MysqlQueries)`.
#[derive(Debug, Clone, Copy)]
pub struct MysqlQueries;

impl Condition for MysqlQueries {
    fn kind(&self) -> &'static str {
        MysqlWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        read::<MysqlWait>(config).map(drop)
    }

    fn look(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<Look> {
        Box::pin(async move {
            let wait: MysqlWait = read(&config).map_err(fatal)?;
            let server = Server::of(&eyes.connection(&wait.connection).await?)?;
            let never = std::future::pending();
            let answer = server.ask(&wait.statement, &wait.params, 1, LOOK_LIMIT, never).await?;
            let (Some(column), Some(row)) = (answer.columns.first(), answer.rows.into_iter().next()) else {
                return Ok(None);
            };
            Ok(is_truthy(&row[column]).then_some(row))
        })
    }
}
