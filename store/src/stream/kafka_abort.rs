//! Aborts of the Kafka client, counted by connection.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Records that the Kafka client aborted this process while it used a connection. Returns the number of aborts of that
/// connection in the last 24 hours, including this one.
#[boxed]
pub async fn record_kafka_abort(db: &mut PgConnection, connection: &str) -> StoreResult<i64> {
    // The count reads the snapshot before the insert.
    let aborts = sqlx::query_scalar!(
        r#"with added as (insert into kafka_abort (connection) values ($1)),
        dropped as (delete from kafka_abort where at < now() - interval '1 day')
        select 1 + count(*) as "aborts!" from kafka_abort where connection = $1 and at >= now() - interval '1 day'"#,
        connection
    );
    Ok(aborts.fetch_one(db).await?)
}
