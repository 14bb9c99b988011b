//! Counts crashes of processes that the Kafka client library aborted, by connection.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Records that the Kafka client library aborted this process while the process used a connection. Returns the number
/// of such aborts for the connection in the last 24 hours, including this one.
#[boxed]
pub async fn record_kafka_abort(db: &mut PgConnection, connection: &str) -> StoreResult<i64> {
    // Add 1 for the inserted row: the count does not see it, because both parts of the statement use one snapshot.
    let aborts = sqlx::query_scalar!(
        r#"with added as (insert into kafka_abort (connection) values ($1)),
        dropped as (delete from kafka_abort where at < now() - interval '1 day')
        select 1 + count(*) as "aborts!" from kafka_abort where connection = $1 and at >= now() - interval '1 day'"#,
        connection
    );
    Ok(aborts.fetch_one(db).await?)
}
