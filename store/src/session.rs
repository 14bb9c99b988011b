//! Sessions of browsers. Only hashes of what the cookies hold are kept; times are those of the caller's clock.

use crate::StoreResult;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    pub token_hash: &'a [u8],
    pub user: &'a str,
    /// Of the password it was opened with.
    pub stamp: &'a str,
    pub client_ip: &'a str,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub user: String,
    pub stamp: String,
    pub expires_at: DateTime<Utc>,
}

/// Keeps a session, and forgets those that are over.
pub async fn open_session(db: &mut PgConnection, new: &NewSession<'_>) -> StoreResult<()> {
    sqlx::query!(
        "with gone as (delete from web_session where expires_at <= $5)
        insert into web_session (token_hash, user_name, stamp, client_ip, created_at, expires_at)
        values ($1, $2, $3, $4, $5, $6)",
        new.token_hash,
        new.user,
        new.stamp,
        new.client_ip,
        new.now,
        new.expires_at
    )
    .execute(db)
    .await?;
    Ok(())
}

pub async fn get_session(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<Option<SessionRow>> {
    let row = sqlx::query_as!(
        SessionRow,
        r#"select user_name as "user", stamp, expires_at from web_session where token_hash = $1"#,
        token_hash
    );
    Ok(row.fetch_optional(db).await?)
}

/// Ends a session; whether there was one.
pub async fn close_session(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<bool> {
    let done = sqlx::query!("delete from web_session where token_hash = $1", token_hash).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
