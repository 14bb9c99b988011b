//! Login sessions of browsers, and of programs that exchanged a password for a token. Only hashes of the tokens are
//! stored. Functions take the current time from the caller.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    pub token_hash: &'a [u8],
    pub user: &'a str,
    /// Stamp of the password with which the session was opened. It changes with the password.
    pub stamp: &'a str,
    pub kind: SessionKind,
    pub client_ip: &'a str,
    pub user_agent: &'a str,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    Browser,
    Program,
}

impl SessionKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            SessionKind::Browser => "browser",
            SessionKind::Program => "program",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub user: String,
    pub stamp: String,
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub struct ListedSession {
    pub id: i64,
    pub token_hash: Vec<u8>,
    /// Kind of client that opened the session: `browser` or `program`.
    pub kind: String,
    pub client_ip: String,
    pub user_agent: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Stores a session, and deletes expired sessions.
#[boxed]
pub async fn open_session(db: &mut PgConnection, new: &NewSession<'_>) -> StoreResult<()> {
    sqlx::query!(
        "with gone as (delete from web_session where expires_at <= $7)
        insert into web_session (token_hash, user_name, stamp, kind, client_ip, user_agent, created_at, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8)",
        new.token_hash,
        new.user,
        new.stamp,
        new.kind.as_str(),
        new.client_ip,
        new.user_agent,
        new.now,
        new.expires_at
    )
    .execute(db)
    .await?;
    Ok(())
}

#[boxed]
pub async fn get_session(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<Option<SessionRow>> {
    let row = sqlx::query_as!(
        SessionRow,
        r#"select user_name as "user", stamp, expires_at from web_session where token_hash = $1"#,
        token_hash
    );
    Ok(row.fetch_optional(db).await?)
}

/// Returns the sessions of one user, newest first.
#[boxed]
pub async fn list_sessions(
    db: &mut PgConnection,
    user: &str,
    now: DateTime<Utc>,
    most: i64,
) -> StoreResult<Vec<ListedSession>> {
    let rows = sqlx::query_as!(
        ListedSession,
        "select id, token_hash, kind, client_ip, user_agent, created_at, expires_at from web_session
        where user_name = $1 and expires_at > $2 order by created_at desc, id desc limit $3",
        user,
        now,
        most
    );
    Ok(rows.fetch_all(db).await?)
}

/// Deletes a session, which logs its client out. Returns false if the session does not exist.
#[boxed]
pub async fn close_session(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<bool> {
    let done = sqlx::query!("delete from web_session where token_hash = $1", token_hash).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the user's session `id`, or all sessions of the user if `id` is `None`. The session with the token hash
/// `kept` is never deleted. Returns the number of deleted sessions.
#[boxed]
pub async fn close_others(db: &mut PgConnection, user: &str, id: Option<i64>, kept: &[u8]) -> StoreResult<u64> {
    let done = sqlx::query!(
        "delete from web_session where user_name = $1 and token_hash <> $3 and ($2::bigint is null or id = $2)",
        user,
        id,
        kept
    );
    Ok(done.execute(db).await?.rows_affected())
}
