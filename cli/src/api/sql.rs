//! SQL queries over the API.

use super::{Api, ApiReply, refused};
use orch_binary::failure::Failure;
use orch_store::lake_view::{Query, ResultColumn};
use serde_json::{Value, json};
use std::time::Duration;

/// Time for the request and the response, in addition to the timeout of the query.
const WAY_THERE: Duration = Duration::from_secs(10);

pub(crate) struct SqlAnswer {
    pub(crate) columns: Vec<ResultColumn>,
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) more: bool,
}

impl Api {
    pub(crate) async fn sql(&self, query: &Query) -> Result<SqlAnswer, Failure> {
        let limits = query.limits;
        let body = json!({ "sql": query.sql, "limit": limits.rows, "timeout_seconds": limits.time.as_secs_f64() });
        match self.ask_within(limits.time + WAY_THERE, "POST", "api/orch/v1/sql", Some(&body)).await? {
            ApiReply::Found(found) => answer(&found).ok_or_else(|| self.strange()),
            ApiReply::Refused(_, words) => Err(refused(&words)),
        }
    }
}

fn answer(found: &Value) -> Option<SqlAnswer> {
    let column = |column: &Value| {
        Some(ResultColumn {
            name: column["name"].as_str()?.into(),
            data_type: column["type"].as_str()?.into(),
            is_number: column["is_number"].as_bool()?,
        })
    };
    let rows = found["rows"].as_array()?.iter().map(|row| row.as_array().cloned()).collect::<Option<Vec<_>>>()?;
    let columns = found["columns"].as_array()?.iter().map(column).collect::<Option<Vec<_>>>()?;
    Some(SqlAnswer { columns, rows, more: found["more"].as_bool()? })
}
