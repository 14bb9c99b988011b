//! Access to users' Postgres servers. The server returns each row as JSON, so that every type has a text form. Params
//! are JSON and are converted to the types that the server expects.

use crate::boxed;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use futures::TryStreamExt as _;
use orch_document::sql;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::bounded::Collected;
pub use orch_store::connect::outside as options;
use orch_store::connect::pool_options;
use orch_store::error::{chain, has_unknown_issuer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, Postgres};
use sqlx::{
    Arguments, AssertSqlSafe, Column, Connection as _, Either, Encode, Executor, SqlSafeStr, Statement, Type, TypeInfo,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// Column names in the order of the `select` list.
    pub columns: Vec<String>,
    /// One object per row.
    pub rows: Vec<Value>,
    /// True if the statement returned more rows than requested.
    pub more: bool,
    /// Number of rows that the statement returned or changed.
    pub affected: u64,
}

/// Maximum number of sessions per connection pool.
pub const MOST_SESSIONS: u32 = 2;
const IDLE: Duration = Duration::from_mins(2);
/// Maximum total size of the rows, because they become a task output, whose size is limited.
const MAX_ROWS_BYTES: usize = orch_store::output::MAX_BYTES;
/// Maximum number of pools that are kept.
const MOST_POOLS: usize = 64;

/// Pools for users' Postgres connections, one small pool per connection.
#[derive(Debug, Clone)]
pub struct Pools {
    statement_timeout: Option<Duration>,
    patience: Duration,
    pools: Arc<Mutex<HashMap<String, (Connection, PgPool)>>>,
}

impl Pools {
    /// Creates an empty set of pools. `patience` is the timeout for acquiring a session.
    pub fn new(statement_timeout: Option<Duration>, patience: Duration) -> Pools {
        Pools { statement_timeout, patience, pools: Arc::default() }
    }

    /// Returns the pool of a connection. Uses the current settings of the connection, which users may have changed.
    ///
    /// # Errors
    /// Fails if the connection is not a Postgres connection.
    pub fn of(&self, connection: Connection) -> TaskResult<PgPool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, pool)) = pools.get(&connection.id).filter(|(known, _)| *known == connection) {
            return Ok(pool.clone());
        }
        let options = options(&connection, self.statement_timeout)?;
        let pool = pool_options().max_connections(MOST_SESSIONS).acquire_timeout(self.patience).idle_timeout(IDLE);
        let pool = pool.connect_lazy_with(options);
        if pools.len() >= MOST_POOLS {
            pools.clear();
        }
        pools.insert(connection.id.clone(), (connection, pool.clone()));
        Ok(pool)
    }
}

/// Returns the server's process id of a session, which `cancel` needs.
#[boxed]
pub async fn session(db: &mut PgConnection) -> TaskResult<i32> {
    Ok(sqlx::query_scalar("select pg_backend_pid()").fetch_one(db).await?)
}

/// Cancels the running statement of a session. Opens a second session, because the first one is busy.
#[boxed]
pub async fn cancel(options: &PgConnectOptions, session: i32) -> TaskResult<()> {
    let mut db = PgConnection::connect_with(options).await?;
    sqlx::query("select pg_cancel_backend($1)").bind(session).execute(&mut db).await?;
    db.close().await?;
    Ok(())
}

/// Executes one statement and returns at most `most_rows` rows.
#[boxed]
pub async fn ask(db: &mut PgConnection, statement: &str, params: &[Value], most_rows: usize) -> TaskResult<Rows> {
    let statement = one_statement(statement)?;
    let prepared = db.prepare(AssertSqlSafe(statement).into_sql_str()).await.map_err(statement_error)?;
    let columns: Vec<String> = prepared.columns().iter().map(|column| column.name().to_string()).collect();
    let types: Vec<String> = match prepared.parameters() {
        Some(Either::Left(types)) => types.iter().map(|t| t.name().to_uppercase()).collect(),
        _ => Vec::new(),
    };
    if types.len() != params.len() {
        let (given, wanted) = (params.len(), types.len());
        return Err(fatal(format!("the statement takes {wanted} params, but {given} are given")));
    }
    let mut arguments = PgArguments::default();
    for (place, (value, of_type)) in params.iter().zip(&types).enumerate() {
        add(&mut arguments, value, of_type).map_err(|problem| fatal(format!("param ${} {problem}", place + 1)))?;
    }
    if columns.is_empty() {
        let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(db).await.map_err(statement_error)?;
        return Ok(Rows { columns, rows: Vec::new(), more: false, affected: done.rows_affected() });
    }
    let as_json = with_rows_as_json(statement, most_rows.saturating_add(1));
    let mut found = sqlx::query_scalar_with::<_, String, _>(AssertSqlSafe(as_json), arguments).fetch(db);
    let (mut rows, mut more) = (Collected::new(MAX_ROWS_BYTES), false);
    while let Some(row) = found.try_next().await.map_err(statement_error)? {
        more = rows.items().len() == most_rows;
        if more {
            break;
        }
        let value: Value = serde_json::from_str(&row).map_err(|e| fatal(format!("a row is not valid JSON: {e}")))?;
        rows.push(value, row.len()).map_err(|error| {
            fatal(format!(
                "the statement returns {error}\nhint: select fewer columns or rows, or load them into a table"
            ))
        })?;
    }
    let rows = rows.into_vec();
    Ok(Rows { columns, affected: rows.len() as u64, rows, more })
}

/// Returns the text without a trailing `;`. Fails if it contains more than one statement.
fn one_statement(text: &str) -> TaskResult<&str> {
    match sql::statements(text).as_slice() {
        [one] => Ok(one),
        several => {
            let count = if several.is_empty() { "no".to_string() } else { several.len().to_string() };
            Err(fatal(format!(
                "the text has {count} statements, not one\nhint: write a task for each statement, or one `do $$ begin …; …; end $$`"
            )))
        }
    }
}

/// Wraps a statement so that it returns its rows as JSON, at most `limit`. A `WITH` that modifies data must be at the
/// top level, so the main statement becomes the last subquery of the `WITH` list. Line breaks before the added text end
/// comments.
fn with_rows_as_json(statement: &str, limit: usize) -> String {
    let (list, main) = match sql::main_statement(statement) {
        Some(at) => (format!("{}\n,", statement[..at].trim_end()), &statement[at..]),
        None => ("with".into(), statement),
    };
    format!("{list} orch_row as (\n{main}\n) select row_to_json(orch_row)::text from orch_row limit {limit}")
}

/// Builds an error that explains why no session could be opened for a connection.
pub fn connection_error(connection: &str, error: &sqlx::Error) -> anyhow::Error {
    let text = format!("cannot use connection `{connection}`: {}", chain(error));
    anyhow::Error::msg(if has_unknown_issuer(error) {
        format!(
            "{text}\nhint: name the file with the certificate of your CA as `sslrootcert` in the extra of the connection"
        )
    } else {
        text
    })
}

/// Converts an error of a statement. The error is fatal if the server would reject a retry as well.
pub fn statement_error(error: sqlx::Error) -> anyhow::Error {
    let Some(refused) = error.as_database_error() else { return error.into() };
    let text = format!("the database refuses: {}", refused.message());
    // SQLSTATE classes: 42 syntax, names and permissions; 22 invalid data; 0A unsupported features.
    match refused.code().as_deref().map(|code| code.get(..2).unwrap_or_default().to_string()).as_deref() {
        Some("42" | "22" | "0A") => fatal(text),
        _ => anyhow::Error::msg(text),
    }
}

/// Adds a JSON value as an argument of the type that the server expects.
#[expect(clippy::cast_possible_truncation, reason = "a column of four bytes holds no more of a float")]
fn add(arguments: &mut PgArguments, value: &Value, of_type: &str) -> Result<(), String> {
    let wrong = |()| format!("must be a `{}`: {value} is none", of_type.to_lowercase());
    match of_type {
        "BOOL" => put(arguments, optional(value, Value::as_bool).map_err(wrong)?),
        "INT2" => put(arguments, optional(value, |v| i16::try_from(v.as_i64()?).ok()).map_err(wrong)?),
        "INT4" => put(arguments, optional(value, |v| i32::try_from(v.as_i64()?).ok()).map_err(wrong)?),
        "INT8" => put(arguments, optional(value, Value::as_i64).map_err(wrong)?),
        "FLOAT4" => put(arguments, optional(value, |v| v.as_f64().map(|v| v as f32)).map_err(wrong)?),
        "FLOAT8" => put(arguments, optional(value, Value::as_f64).map_err(wrong)?),
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" | "UNKNOWN" => {
            put(arguments, optional(value, |v| Some(text(v))).map_err(wrong)?)
        }
        "UUID" => put(arguments, optional(value, parsed::<Uuid>).map_err(wrong)?),
        "DATE" => put(arguments, optional(value, parsed::<NaiveDate>).map_err(wrong)?),
        "TIMESTAMP" => put(arguments, optional(value, parsed::<NaiveDateTime>).map_err(wrong)?),
        "TIMESTAMPTZ" => put(arguments, optional(value, parsed::<DateTime<Utc>>).map_err(wrong)?),
        "JSON" | "JSONB" => put(arguments, Some(sqlx::types::Json(value.clone()))),
        other => Err(format!("is a `{0}`: write `$1::text::{0}` and give a text", other.to_lowercase())),
    }
}

fn put<T>(arguments: &mut PgArguments, value: T) -> Result<(), String>
where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
{
    arguments.add(value).map_err(|error| error.to_string())
}

/// Converts a value. Returns `None` for null, and an error if the value does not have the type.
fn optional<'v, T>(value: &'v Value, of: impl Fn(&'v Value) -> Option<T>) -> Result<Option<T>, ()> {
    if value.is_null() { Ok(None) } else { of(value).map(Some).ok_or(()) }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_cannot_be_opened_names_itself_and_the_reason() {
        let io = |message: &str| sqlx::Error::Io(std::io::Error::other(message.to_owned()));
        assert_eq!(
            connection_error("shop", &io("Connection refused (os error 111)")).to_string(),
            "cannot use connection `shop`: the database cannot be reached: Connection refused (os error 111)"
        );
        let untrusted = connection_error("shop", &io("invalid peer certificate: UnknownIssuer")).to_string();
        assert!(untrusted.contains("UnknownIssuer\nhint: ") && untrusted.contains("`sslrootcert`"), "{untrusted}");
    }

    #[test]
    fn rows_of_a_with_are_read_at_the_top_level() {
        let plain = with_rows_as_json("select 1 -- one", 2);
        assert_eq!(
            plain,
            "with orch_row as (\nselect 1 -- one\n) select row_to_json(orch_row)::text from orch_row limit 2"
        );
        let modifying = with_rows_as_json("with gone as (delete from t returning id) select count(*) from gone", 2);
        assert_eq!(
            modifying,
            "with gone as (delete from t returning id)\n, orch_row as (\nselect count(*) from gone\n) \
            select row_to_json(orch_row)::text from orch_row limit 2"
        );
    }

    #[test]
    fn several_statements_are_refused_before_they_are_sent() {
        assert_eq!(one_statement("select 1; -- done").expect("one"), "select 1");
        let several = one_statement("select 1; select 2").expect_err("two").to_string();
        assert!(several.starts_with("the text has 2 statements, not one\nhint: "), "{several}");
    }
}
