//! Endpoints that query a Postgres database of users. Each request runs the query in a read-only transaction. Responses
//! are not cached, because Postgres does not report changes of tables.

use crate::endpoint::{Endpoint, Param, ParamType};
use crate::format::EndpointRows;
use crate::values::read_default;
use orch_lake_sql::{Placeholder, placeholders};
use orch_sdk::task::TaskError;
use orch_store::error::chain;
use orch_store::lake_view::{FindConnection, LakeError, SqlValue, SqlValues};
use orch_workers::outside::postgres::{MOST_SESSIONS, Pools, Rows, ask, statement_error};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, SqlSafeStr as _};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

/// Timeout for a request that waits for a session at the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// A statement with numbered parameters.
#[derive(Debug, PartialEq)]
pub(crate) struct Numbered {
    statement: String,
    /// Names of the parameters `$1`, `$2`, …
    params: Vec<String>,
}

/// Replaces `$limit` by `$1::bigint`. The casts have the declared types, so that the server does not infer them.
///
/// # Errors
/// Returns an error for a name without a parameter.
pub(crate) fn numbered(sql: &str, params: &[Param]) -> Result<Numbered, String> {
    let (mut statement, mut names, mut rest) = (String::with_capacity(sql.len()), Vec::new(), 0);
    for Placeholder { name, range } in placeholders(sql).map_err(|error| error.to_string())? {
        let param = params.iter().find(|param| param.name == name);
        let param = param.ok_or_else(|| format!("`${name}` is not a parameter\nhint: add it to `params`"))?;
        let place = names.iter().position(|known| *known == name).unwrap_or(names.len());
        if place == names.len() {
            names.push(name);
        }
        let number = (place + 1).to_string();
        statement.extend([&sql[rest..range.start], "$", &number, "::", type_of(param.data_type)]);
        rest = range.end;
    }
    statement.push_str(&sql[rest..]);
    Ok(Numbered { statement, params: names })
}

fn type_of(data_type: ParamType) -> &'static str {
    match data_type {
        ParamType::Integer => "bigint",
        ParamType::Number => "double precision",
        ParamType::Text => "text",
        ParamType::Boolean => "boolean",
        ParamType::Date => "date",
        ParamType::Timestamp => "timestamp",
    }
}

fn json(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Boolean(truth) => (*truth).into(),
        SqlValue::Integer(number) => (*number).into(),
        SqlValue::Number(number) => (*number).into(),
        SqlValue::Text(text) => text.as_str().into(),
        SqlValue::Date(date) => date.to_string().into(),
        SqlValue::Timestamp(at) => at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string().into(),
    }
}

/// Connection pools for the databases of endpoints.
pub(crate) struct Databases {
    find: Arc<FindConnection>,
    pools: Pools,
}

impl Databases {
    pub(crate) fn new(find: Arc<FindConnection>) -> Databases {
        Databases { find, pools: Pools::new(None, PATIENCE) }
    }

    /// Runs the query of an endpoint. If the caller disconnects, the statement timeout of the server ends the query.
    pub(crate) async fn ask(
        &self,
        id: &str,
        endpoint: &Endpoint,
        values: SqlValues,
    ) -> Result<EndpointRows, LakeError> {
        let connection = (self.find)(id).await;
        let pool = connection.and_then(|connection| self.pools.of(connection));
        let pool = pool.map_err(|error| LakeError::Unavailable(format!("{error:#}")))?;
        let mut tx = pool.begin().await.map_err(|error| match error {
            // Connecting to a server that refuses connections is also retried until this timeout.
            sqlx::Error::PoolTimedOut if pool.size() == MOST_SESSIONS => LakeError::Busy(format!(
                "{MOST_SESSIONS} queries of the database of `{id}` run already: try again soon"
            )),
            error => unreachable(id, &chain(&error)),
        })?;
        let asked = async {
            // The timeout below ends first, by one second, and returns the reason to the caller.
            let limit = (endpoint.timeout() + Duration::from_secs(1)).as_millis();
            let read_only = format!("set transaction read only; set local statement_timeout = {limit}");
            let set = sqlx::raw_sql(AssertSqlSafe(read_only)).execute(&mut *tx).await;
            set.map_err(|error| unreachable(id, &chain(&error)))?;
            answer(&mut tx, (id, endpoint), values).await
        };
        let found = tokio::time::timeout(endpoint.timeout(), asked).await;
        let found = found.map_err(|_| LakeError::too_long(endpoint.timeout()))??;
        tx.rollback().await.ok(); // nothing to commit
        Ok(found)
    }
}

fn unreachable(id: &str, error: &dyn Display) -> LakeError {
    LakeError::Unavailable(format!("the database of connection `{id}` cannot be used: {error}"))
}

/// Runs the query with the values that were sent and the defaults that queries return.
async fn answer(
    db: &mut PgConnection,
    (id, endpoint): (&str, &Endpoint),
    mut values: SqlValues,
) -> Result<EndpointRows, LakeError> {
    for (param, sql) in endpoint.defaults_to_ask(&values) {
        let query = numbered(sql, &[]).map_err(LakeError::Refused)?;
        let found = rows(db, (id, &query), &SqlValues::new(), 1).await?;
        let value = found.rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or_default();
        values.insert(param.name.clone(), read_default(param, &value)?);
    }
    let query = numbered(&endpoint.sql, &endpoint.params).map_err(LakeError::Refused)?;
    rows(db, (id, &query), &values, endpoint.most_rows()).await
}

async fn rows(
    db: &mut PgConnection,
    (id, query): (&str, &Numbered),
    values: &SqlValues,
    most: usize,
) -> Result<EndpointRows, LakeError> {
    let wrong = |error| match TaskError::from(error) {
        wrong @ TaskError::Fatal { .. } => LakeError::Refused(wrong.to_string()),
        other => unreachable(id, &other),
    };
    // The session caches prepared statements, so the server parses the statement once.
    if let Err(error) = db.prepare(AssertSqlSafe(query.statement.as_str()).into_sql_str()).await {
        return Err(match missing(&error) {
            Some(missing) => LakeError::NotFound(format!(
                "{missing} in the database of `{id}`\nhint: run the pipeline that makes it"
            )),
            None => wrong(statement_error(error)),
        });
    }
    let params: Vec<Value> = query.params.iter().map(|name| values.get(name).map_or(Value::Null, json)).collect();
    let found = ask(db, &query.statement, &params, most).await.map_err(wrong)?;
    let Rows { columns, rows, more, .. } = found;
    let cells = |mut row: Value| columns.iter().map(|column| row[column].take()).collect();
    let rows = rows.into_iter().map(cells).collect();
    Ok(EndpointRows { columns, rows, more })
}

/// Returns the message of the server if a table or a schema does not exist.
fn missing(error: &sqlx::Error) -> Option<&str> {
    let refused = error.as_database_error()?;
    refused.code().filter(|code| ["42P01", "3F000"].contains(&&**code)).map(|_| refused.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "
path: /x
about: Of a Postgres
connection: shop
params:
  - {name: year, type: integer}
  - {name: name, type: text}
sql: SELECT
columns:
  - {name: n, type: integer}
";

    fn of(sql: &str) -> Result<Numbered, String> {
        let endpoint = Endpoint::read("x.yaml", &ENDPOINT.replace("SELECT", "select 1 as n")).unwrap();
        numbered(sql, &endpoint.params)
    }

    #[test]
    fn names_become_numbers_with_types() {
        for (sql, statement, params) in [
            ("select 1", "select 1", &[] as &[&str]),
            (
                "select n from t\n where y = $year and x = $name",
                "select n from t\n where y = $1::bigint and x = $2::text",
                &["year", "name"],
            ),
            ("select $name || $name, $year", "select $1::text || $1::text, $2::bigint", &["name", "year"]),
            (
                "select '$name', \"$name\" /* $no */ -- $no\n, 'ü' || $name",
                "select '$name', \"$name\" /* $no */ -- $no\n, 'ü' || $1::text",
                &["name"],
            ),
            (
                "select $$ $no $$, e'\\'$no', $name::varchar",
                "select $$ $no $$, e'\\'$no', $1::text::varchar",
                &["name"],
            ),
        ] {
            let numbered = of(sql).unwrap();
            assert_eq!(
                (numbered.statement.as_str(), numbered.params.as_slice()),
                (statement, &*params.iter().map(ToString::to_string).collect::<Vec<_>>())
            );
        }
    }

    #[test]
    fn a_name_without_a_parameter_is_refused() {
        for sql in ["select $other", "select $1"] {
            assert!(of(sql).unwrap_err().contains("is not a parameter"), "{sql}");
        }
    }
}
