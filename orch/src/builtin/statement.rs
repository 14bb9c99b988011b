//! A statement and its result, generic over the type of database.

use super::field::{FieldInputs, FieldValue};
use super::operator::Operator;
use crate::{BoxFuture, Call, Ctx, TaskResult};
pub use orch_workers::outside::postgres::Rows;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::marker::PhantomData;
use std::time::Duration;

/// A type of database. Each one defines a kind of task.
pub trait Database: Clone + Send + Sync + 'static {
    const KIND: &'static str;

    /// Runs the statement. When the task is stopped, implementations must cancel it on the server.
    fn ask(statement: &Statement<Self>, ctx: &Ctx) -> impl Future<Output = TaskResult<Rows>> + Send;
}

/// A statement for a database of the type `D`. `I` is `()`, or [`FieldInputs`] if a param is the output of another task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "I: Default"), deny_unknown_fields)]
pub struct Statement<D, I = ()> {
    /// Id of a connection of the database's type.
    pub connection: String,
    pub statement: String,
    /// One per parameter of the statement. They are bound, never inserted into the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Value>,
    /// Maximum number of rows to keep. If there are more, the output's `more` is set.
    #[serde(default = "thousand")]
    pub most_rows: usize,
    #[serde(default = "hour")]
    pub timeout_ms: u64,
    #[serde(skip)]
    database: PhantomData<fn() -> D>,
    #[serde(skip)]
    inputs: I,
}

fn thousand() -> usize {
    1_000
}

fn hour() -> u64 {
    60 * 60 * 1_000
}

impl<D> Statement<D> {
    pub fn new(connection: &str, statement: &str) -> Self {
        Statement {
            connection: connection.into(),
            statement: statement.into(),
            params: Vec::new(),
            most_rows: thousand(),
            timeout_ms: hour(),
            database: PhantomData,
            inputs: (),
        }
    }
}

impl<D, I> Statement<D, I> {
    /// Sets the next param of the statement, to a constant or to the output of another task.
    ///
    /// # Panics
    /// Panics if the constant cannot be serialized as JSON.
    #[must_use]
    pub fn param<V: FieldValue<I>>(self, value: V) -> Statement<D, V::Inputs> {
        let (mut statement, inputs) = self.replace_inputs(());
        let (value, inputs) = value.assign(format!("params/{}", statement.params.len()), inputs);
        statement.params.push(value);
        statement.replace_inputs(inputs).0
    }

    #[must_use]
    pub fn most_rows(mut self, rows: usize) -> Self {
        self.most_rows = rows;
        self
    }

    /// Sets the timeout after which the server cancels the statement.
    #[must_use]
    pub fn statement_timeout(mut self, limit: Duration) -> Self {
        self.timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Returns the call of the statement, to be added to a DAG.
    #[track_caller]
    pub fn call<'d>(self) -> Call<'d, Rows>
    where
        D: Database,
        I: Into<FieldInputs<'d>>,
    {
        let (statement, inputs) = self.replace_inputs(());
        FieldInputs::call(inputs.into(), statement)
    }

    /// Replaces the inputs, and returns the former ones.
    fn replace_inputs<J>(self, inputs: J) -> (Statement<D, J>, I) {
        let Statement { connection, statement, params, most_rows, timeout_ms, database, inputs: former } = self;
        (Statement { connection, statement, params, most_rows, timeout_ms, database, inputs }, former)
    }
}

impl<D: Database> Operator for Statement<D> {
    const KIND: &'static str = D::KIND;
    type Output = Rows;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Rows>> {
        Box::pin(async move {
            let rows = D::ask(&self, &ctx).await?;
            if rows.more {
                ctx.warning(format!("there are more than {} rows: the rest is left out", self.most_rows));
            }
            ctx.progress(rows.affected, 0);
            Ok(rows)
        })
    }
}
