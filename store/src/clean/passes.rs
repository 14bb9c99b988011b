//! Records how the cleaning passes of schedulers went: the last success, the current failures, and the time of the next
//! pass. These records do not affect which rows are removed.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Lease of a pass, in seconds. When it has expired, the process may be dead, so another pass starts. If the process is
/// still alive, it holds the cleaning lock, which makes the second pass fail.
const LEASE_SECS: f64 = 300.0;
/// Maximum number of characters of a stored error message.
const MOST_CHARS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passes {
    pub done_at: Option<DateTime<Utc>>,
    pub failing: Option<Failing>,
}

/// Failures of passes since the last successful one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub since: DateTime<Utc>,
    pub times: i32,
    /// Error message of the last failed pass.
    pub error: String,
    pub retry_at: Option<DateTime<Utc>>,
}

/// Returns the record of the passes, or `None` if there was no pass yet.
#[boxed]
pub async fn passes(db: &mut PgConnection) -> StoreResult<Option<Passes>> {
    let row = sqlx::query!("select done_at, failing_since, failures, error, retry_at from retirement");
    Ok(row.fetch_optional(db).await?.map(|row| Passes {
        done_at: row.done_at,
        failing: row.failing_since.zip(row.error).map(|(since, error)| Failing {
            since,
            times: row.failures,
            error,
            retry_at: row.retry_at,
        }),
    }))
}

/// Records the start of a cleaning pass and the end of its lease.
#[boxed]
pub async fn pass_begins(db: &mut PgConnection) -> StoreResult<()> {
    let noted = sqlx::query!(
        "insert into retirement (retry_at) values (now() + $1::float8 * interval '1 second')
        on conflict (one) do update set retry_at = excluded.retry_at",
        LEASE_SECS
    );
    noted.execute(db).await?;
    Ok(())
}

#[boxed]
pub async fn pass_went_well(db: &mut PgConnection) -> StoreResult<()> {
    let noted = sqlx::query!(
        "update retirement set done_at = now(), failing_since = null, failures = 0, error = null, retry_at = null"
    );
    noted.execute(db).await?;
    Ok(())
}

/// Records a failed pass, and that the next one is due after `pause`. Returns the number of consecutive failures.
pub async fn pass_failed(db: &mut PgConnection, why: &str, pause: impl Fn(i32) -> Duration) -> StoreResult<i32> {
    let mut tx = db.begin().await?;
    let before = sqlx::query_scalar!("select failures from retirement for update").fetch_optional(&mut *tx).await?;
    let failures = before.unwrap_or(0).saturating_add(1);
    sqlx::query!(
        "insert into retirement (failing_since, failures, error, retry_at)
        values (now(), $1, $2, now() + $3::float8 * interval '1 second')
        on conflict (one) do update set failing_since = coalesce(retirement.failing_since, excluded.failing_since),
          failures = excluded.failures, error = excluded.error, retry_at = excluded.retry_at",
        failures,
        why.chars().take(MOST_CHARS).collect::<String>(),
        pause(failures).as_secs_f64()
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(failures)
}

/// True if the caller must start a pass, because the last pass failed or its lease has expired. If several callers ask
/// concurrently, only one gets true.
#[boxed]
pub async fn pass_due(db: &mut PgConnection) -> StoreResult<bool> {
    let turn = sqlx::query_scalar!(
        r#"update retirement set retry_at = now() + $1::float8 * interval '1 second' where retry_at <= now()
        returning one as "one!""#,
        LEASE_SECS
    );
    Ok(turn.fetch_optional(db).await?.is_some())
}
