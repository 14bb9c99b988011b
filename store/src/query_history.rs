//! History of users' queries over the lake. Users see only their own queries. A query can be cancelled through any
//! server.

use crate::list::List;
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use uuid::Uuid;

/// Maximum number of stored queries per user. If a user has more, the oldest are deleted.
const MOST_KEPT: i64 = 200;
const DAYS_KEPT: i32 = 30;

#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct QueryRow {
    pub id: Uuid,
    pub user_name: String,
    pub sql: String,
    /// `running`, `success`, `failed`, `cancelled`, or `lost` if the server that ran the query died.
    pub state: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub rows: Option<i64>,
    pub problem: Option<String>,
}

/// Columns of queries. Users may filter or sort by the columns in `ALL`. A list contains the queries of a single user.
pub mod by {
    use crate::list::Filter::{AnyOf, Pattern, Range};
    use crate::list::{Column, Words};

    const STATES: Words = Words { noun: "state", words: &["running", "success", "failed", "cancelled", "lost"] };

    pub const ID: Column = Column::text("query_id", "id");
    pub const USER: Column = Column::text("user_name", "user_name");
    pub const STARTED: Column = Column::moment("start_date", "started_at").by(&[Range]).sorted();

    pub(super) const ALL: &[Column] = &[
        Column::text("sql", "sql").by(&[Pattern]),
        Column::words("state", "state", STATES).by(&[AnyOf]).about("In one of these states").sorted(),
        STARTED,
        Column::moment("end_date", "ended_at").by(&[Range]).nullable().sorted(),
        Column::whole("rows", "rows").nullable().sorted(),
    ];
}

/// The list of a user's queries, newest first by default.
pub static QUERIES: List<QueryRow> = List {
    select: "id, user_name, sql, state, started_at, ended_at, rows, problem",
    from: "(select id, user_name, sql, started_at, ended_at, rows, problem,
        case when state = 'running' and ends_by < now() then 'lost' else state end as state from query_history) q",
    joins: &[],
    columns: by::ALL,
    key: "id",
    order: &[by::STARTED.descending()],
    read: |row| Ok(QueryRow::from_row(row)?),
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryEnd {
    Success { rows: u64 },
    Failed { problem: String },
    Cancelled,
}

impl QueryEnd {
    fn state(&self) -> &'static str {
        match self {
            QueryEnd::Success { .. } => "success",
            QueryEnd::Failed { .. } => "failed",
            QueryEnd::Cancelled => "cancelled",
        }
    }
}

/// Records the start of a query, and deletes the user's oldest queries beyond the maximum. Returns false if the id is
/// already used.
#[boxed]
pub async fn begin_query(db: &mut PgConnection, id: Uuid, user: &str, sql: &str, most: Duration) -> StoreResult<bool> {
    let begun = sqlx::query!(
        "insert into query_history (id, user_name, sql, ends_by)
        values ($1, $2, $3, now() + $4::float8 * interval '1 second') on conflict do nothing",
        id,
        user,
        sql,
        most.as_secs_f64()
    );
    if begun.execute(&mut *db).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "delete from query_history where user_name = $1 and id <> $2 and (
            started_at < now() - $3::int * interval '1 day'
            or id in (select id from query_history where user_name = $1 order by started_at desc offset $4))",
        user,
        id,
        DAYS_KEPT,
        MOST_KEPT
    )
    .execute(db)
    .await?;
    Ok(true)
}

/// Records the outcome of a query. If an outcome is already stored, it is kept.
#[boxed]
pub async fn end_query(db: &mut PgConnection, id: Uuid, end: &QueryEnd) -> StoreResult<()> {
    let (rows, problem) = match end {
        QueryEnd::Success { rows } => (i64::try_from(*rows).ok(), None),
        QueryEnd::Failed { problem } => (None, Some(problem.as_str())),
        QueryEnd::Cancelled => (None, None),
    };
    sqlx::query!(
        "update query_history set state = $2, rows = $3, problem = $4, ended_at = now()
        where id = $1 and state = 'running'",
        id,
        end.state(),
        rows,
        problem
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Requests the cancellation of a query. If `user` is set, the query must belong to that user. Returns false if no such
/// query is running.
#[boxed]
pub async fn cancel_query(db: &mut PgConnection, id: Uuid, user: Option<&str>) -> StoreResult<bool> {
    let wished = sqlx::query!(
        "update query_history set cancel_wished = true
        where id = $1 and state = 'running' and ends_by > now() and ($2::text is null or user_name = $2)",
        id,
        user
    );
    Ok(wished.execute(db).await?.rows_affected() == 1)
}

/// Returns true if the query should stop, because its cancellation was requested or its user was deleted.
#[boxed]
pub async fn is_query_cancelled(db: &mut PgConnection, id: Uuid) -> StoreResult<bool> {
    let goes_on = sqlx::query_scalar!("select id from query_history where id = $1 and not cancel_wished", id);
    Ok(goes_on.fetch_optional(db).await?.is_none())
}
