//! Statements for MySQL, and waits for their results.

use orch::wait::{is_truthy, read};
use orch::{
    Awaited, BoxFuture, Call, Condition, ConditionResult, Ctx, Database, Deferral, Eyes, FieldInputs, Rows, Statement,
    TaskResult, Wait, fatal,
};
use orch_lake::source::mysql::Server;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Timeout of one poll of a condition.
const LOOK_LIMIT: Duration = Duration::from_secs(15);

/// A connection of type `mysql`.
#[derive(Debug, Clone, Copy)]
pub struct MysqlServer;

/// A statement for MySQL. Its parameters are `?`; decimals and dates of its rows are strings.
pub type Mysql = Statement<MysqlServer>;

/// Runs one statement in MySQL. When the task is stopped, the statement is cancelled on the server, too.
#[track_caller]
pub fn mysql<'d, I: Into<FieldInputs<'d>>>(mysql: Statement<MysqlServer, I>) -> Call<'d, Rows> {
    mysql.call()
}

impl Database for MysqlServer {
    const KIND: &'static str = "mysql";

    async fn ask(mysql: &Mysql, ctx: &Ctx) -> TaskResult<Rows> {
        let server = Server::of(&ctx.connection(&mysql.connection).await?)?;
        let asked = server.ask(&mysql.statement, &mysql.params, mysql.most_rows, mysql.timeout(), ctx.cancelled());
        let answer = asked.await?;
        Ok(Rows { columns: answer.columns, rows: answer.rows, more: answer.more, affected: answer.affected })
    }
}

/// A query whose result a task waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MysqlWait {
    pub connection: String,
    pub statement: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
}

/// Waits until the first cell of the first row is not null, 0 or empty. Returns the row.
pub fn mysql_query(connection: &str, statement: &str) -> MysqlWait {
    MysqlWait { connection: connection.into(), statement: statement.into(), params: Vec::new() }
}

impl MysqlWait {
    const KIND: &'static str = "mysql_query";

    /// Sets the next parameter.
    ///
    /// # Panics
    /// Panics if the value cannot be serialized as JSON.
    #[must_use]
    pub fn param(mut self, value: impl Serialize) -> MysqlWait {
        self.params.push(serde_json::to_value(value).expect("a param is JSON"));
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

/// The condition that polls these queries. A DAG that waits for one needs `dag("…").condition(MysqlQueries)`.
#[derive(Debug, Clone, Copy)]
pub struct MysqlQueries;

impl Condition for MysqlQueries {
    fn kind(&self) -> &'static str {
        MysqlWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        read::<MysqlWait>(config).map(drop)
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
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
