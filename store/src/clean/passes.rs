//! How the passes of schedulers go: when one last came to its end, since when they fail, and when the next one begins.
//! Nothing here decides what may be dropped: that is only what is elsewhere already.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// A pass that has said nothing for so long may be dead: another one begins, and finds out (there is one at a time).
const LEASE_SECS: f64 = 300.0;
/// A longer reason is cut.
const MOST_CHARS: usize = 1_000;

/// What is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passes {
    pub done_at: Option<DateTime<Utc>>,
    pub failing: Option<Failing>,
}

/// The last ones failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub since: DateTime<Utc>,
    pub times: i32,
    /// Why the last one did, in words.
    pub error: String,
    pub retry_at: Option<DateTime<Utc>>,
}

/// `None`: there was none yet.
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

/// A pass begins. If it never says how it ended, another one does soon.
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

/// Notes why, and when it is tried again: after a pause that depends on how many have failed. Gives that number.
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

/// Whether it is this caller's turn to begin one, because the last failed or was never heard of again.
#[boxed]
pub async fn pass_due(db: &mut PgConnection) -> StoreResult<bool> {
    let turn = sqlx::query_scalar!(
        r#"update retirement set retry_at = now() + $1::float8 * interval '1 second' where retry_at <= now()
        returning one as "one!""#,
        LEASE_SECS
    );
    Ok(turn.fetch_optional(db).await?.is_some())
}
