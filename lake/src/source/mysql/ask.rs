//! Executes one statement with a small result and returns the rows as JSON, for operators and wait conditions.

use super::errors::{ErrorSubject, statement_error};
use super::{Server, as_text};
use anyhow::bail;
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Params, QueryResult, Row};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::bounded::{Collected, TooManyBytes};
use orch_store::output::MAX_BYTES;
use serde_json::{Map, Value};
use std::future::Future;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct StatementResult {
    pub columns: Vec<String>,
    /// One JSON object per row.
    pub rows: Vec<Value>,
    /// True if the result has more rows than the limit.
    pub more: bool,
    /// Number of rows returned or changed.
    pub affected: u64,
}

impl Server {
    /// Executes one statement and returns at most `most_rows` rows. Kills the query on the server when `stopped`
    /// resolves or the timeout `limit` has passed.
    ///
    /// # Errors
    /// Returns the same errors as [`super::read`], and an error if the statement was cancelled or timed out.
    pub async fn ask(
        &self,
        statement: &str,
        params: &[Value],
        most_rows: usize,
        limit: Duration,
        stopped: impl Future<Output = ()>,
    ) -> TaskResult<StatementResult> {
        let mut session = self.session().await?;
        let id = session.conn().id();
        let params: Vec<mysql_async::Value> = params.iter().map(param).collect();
        let ended = tokio::select! {
            answer = ask(session.conn(), statement, params, most_rows) => match answer {
                Ok(answer) => {
                    return answer.map_err(|error| {
                        fatal(format!("the statement returns {error}\nhint: select fewer columns or rows, or copy them to a bucket"))
                    });
                }
                Err(error) => {
                    return Err(statement_error(error, self, &mut session, &ErrorSubject::Query).await);
                }
            },
            () = stopped => "cancelled".to_string(),
            () = tokio::time::sleep(limit) => format!("the statement takes longer than {} s", limit.as_secs_f64()),
        };
        // `kill query` needs a second session, because the first one is executing the query.
        if let Err(error) = self.session().await?.conn().query_drop(format!("kill query {id}")).await {
            bail!("{ended}, and the server did not end it: {error}");
        }
        bail!(ended)
    }
}

async fn ask(
    conn: &mut mysql_async::Conn,
    statement: &str,
    params: Vec<mysql_async::Value>,
    most_rows: usize,
) -> mysql_async::Result<Result<StatementResult, TooManyBytes>> {
    let mut result: QueryResult<'_, '_, BinaryProtocol> = conn.exec_iter(statement, Params::from(params)).await?;
    let columns: Vec<String> = result.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    if columns.is_empty() {
        return Ok(Ok(StatementResult { columns, rows: Vec::new(), more: false, affected: result.affected_rows() }));
    }
    let (mut rows, mut more) = (Collected::new(MAX_BYTES), false);
    while let Some(row) = result.next().await? {
        more = rows.items().len() == most_rows;
        if more {
            break;
        }
        if let Err(error) = rows.push(object(&row), bytes_of(&row)) {
            return Ok(Err(error));
        }
    }
    let rows = rows.into_vec();
    Ok(Ok(StatementResult { columns, affected: rows.len() as u64, rows, more }))
}

fn param(value: &Value) -> mysql_async::Value {
    match value {
        Value::Null => mysql_async::Value::NULL,
        Value::Bool(value) => mysql_async::Value::Int(i64::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => mysql_async::Value::Int(number),
            (None, Some(number)) => mysql_async::Value::UInt(number),
            (None, None) => mysql_async::Value::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => mysql_async::Value::Bytes(text.clone().into_bytes()),
        other => mysql_async::Value::Bytes(other.to_string().into_bytes()),
    }
}

fn bytes_of(row: &Row) -> usize {
    let values = (0..row.len()).map(|at| match row.as_ref(at) {
        Some(mysql_async::Value::Bytes(bytes)) => bytes.len(),
        _ => size_of::<Value>(),
    });
    values.sum()
}

fn object(row: &Row) -> Value {
    let columns = row.columns_ref().iter().enumerate();
    Value::Object(columns.map(|(at, column)| (column.name_str().into_owned(), json(row, at))).collect::<Map<_, _>>())
}

/// Converts a cell to JSON. Decimals become strings so that they stay exact.
fn json(row: &Row, at: usize) -> Value {
    use mysql_async::Value as Own;
    match row.as_ref(at) {
        None | Some(Own::NULL) => Value::Null,
        Some(Own::Int(number)) => (*number).into(),
        Some(Own::UInt(number)) => (*number).into(),
        // Uses the shortest text that parses to the same `f32`, as the server does. A cast to `f64` would show more
        // digits.
        Some(Own::Float(number)) => number.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        Some(Own::Double(number)) => (*number).into(),
        Some(Own::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned().into(),
        Some(other) => as_text(other).into(),
    }
}
