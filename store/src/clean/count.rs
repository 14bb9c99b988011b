//! Counts the rows that a cleaning would remove.

use super::rows::filter;
use super::table::Table;
use super::{CleanRequest, reset_time, take_time};
use crate::{StoreResult, boxed, connect::first_error, partition::PARENTS};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    pub table: String,
    pub rows: i64,
}

/// Counts the rows that a request would remove, which takes as long as reading them. Raises the statement timeout of
/// the session meanwhile.
#[boxed]
pub async fn count_old(db: &mut PgConnection, wish: &CleanRequest) -> StoreResult<Vec<Count>> {
    take_time(db).await?;
    let counts = count_tables(db, wish).await;
    first_error(counts, reset_time(db).await)
}

async fn count_tables(db: &mut PgConnection, wish: &CleanRequest) -> StoreResult<Vec<Count>> {
    let mut counts = Vec::new();
    for &table in &wish.tables {
        match table {
            Table::DagRun => {
                counts.push(count(db, wish, "dag_run", &format!("dag_run r where {RUNS}")).await?);
                for parent in PARENTS {
                    counts.push(of_runs(db, wish, parent).await?);
                }
            }
            Table::LogChunk if wish.tables.contains(&Table::DagRun) => {}
            Table::LogChunk => counts.push(of_runs(db, wish, "log_chunk").await?),
            other => {
                let name = other.as_str();
                let Some(filter) = filter(wish, other) else { continue };
                let may_go = other.may_go();
                let from = format!("{name} where at < $1 and $2::bigint > 0 and {may_go} and {filter}");
                counts.push(count(db, wish, name, &from).await?);
            }
        }
    }
    Ok(counts)
}

/// SQL condition for runs that may be removed.
const RUNS: &str = "$2::bigint > 0 and r.id < uuid_of_moment($1) and r.state in ('success', 'failed')
    and (r.ended_at is null or r.ended_at < $1) and (cardinality($3::text[]) = 0 or r.dag_id = any($3)) and r.dag_id <> all($4::text[])";

async fn of_runs(db: &mut PgConnection, wish: &CleanRequest, parent: &str) -> StoreResult<Count> {
    let from = format!(
        "{parent} t where t.run < uuid_of_moment($1) and exists (select from dag_run r where r.id = t.run and {RUNS})"
    );
    count(db, wish, parent, &from).await
}

async fn count(db: &mut PgConnection, wish: &CleanRequest, table: &str, from: &str) -> StoreResult<Count> {
    let rows = sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {from}")))
        .bind(wish.before)
        .bind(wish.batch.max(1))
        .bind(&wish.only)
        .bind(&wish.except)
        .fetch_one(db)
        .await?;
    Ok(Count { table: table.into(), rows })
}
