//! Tokens that people make for programs. Only hashes are kept; times are those of the caller's clock.

use crate::StoreResult;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// The most tokens one user may have.
pub const MOST_TOKENS: i64 = 100;

#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    pub token_hash: &'a [u8],
    pub user: &'a str,
    /// What it is for, in its owner's words.
    pub name: &'a str,
    pub now: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddToken {
    Added,
    /// There is one of that name, or the user cannot log in.
    Taken,
    TooMany,
}

/// A token as a request finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub user: String,
    pub generation: i32,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token as its owner sees it.
#[derive(Debug, Clone)]
pub struct ListedToken {
    pub id: i64,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Of the generation that the user has by now; those that are over make room.
pub async fn add_token(db: &mut PgConnection, new: &NewToken<'_>) -> StoreResult<AddToken> {
    sqlx::query!("delete from api_token where user_name = $1 and expires_at <= $2", new.user, new.now)
        .execute(&mut *db)
        .await?;
    let count = sqlx::query_scalar!(r#"select count(*) as "n!" from api_token where user_name = $1"#, new.user);
    if count.fetch_one(&mut *db).await? >= MOST_TOKENS {
        return Ok(AddToken::TooMany);
    }
    let done = sqlx::query!(
        "insert into api_token (token_hash, user_name, name, generation, created_at, expires_at)
        select $1, name, $3, generation, $4, $5 from api_user where name = $2 and not is_disabled
        on conflict (user_name, name) do nothing",
        new.token_hash,
        new.user,
        new.name,
        new.now,
        new.expires_at
    );
    Ok(if done.execute(db).await?.rows_affected() == 1 { AddToken::Added } else { AddToken::Taken })
}

pub async fn get_token(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<Option<TokenRow>> {
    let row = sqlx::query_as!(
        TokenRow,
        r#"select user_name as "user", generation, expires_at from api_token where token_hash = $1"#,
        token_hash
    );
    Ok(row.fetch_optional(db).await?)
}

/// Of one user, the newest first.
pub async fn list_tokens(db: &mut PgConnection, user: &str) -> StoreResult<Vec<ListedToken>> {
    let rows = sqlx::query_as!(
        ListedToken,
        "select id, name, created_at, expires_at from api_token where user_name = $1 order by id desc limit 1000",
        user
    );
    Ok(rows.fetch_all(db).await?)
}

/// The name and the hash of the token that was.
pub async fn revoke_token(db: &mut PgConnection, user: &str, id: i64) -> StoreResult<Option<(String, Vec<u8>)>> {
    let row =
        sqlx::query!("delete from api_token where user_name = $1 and id = $2 returning name, token_hash", user, id);
    Ok(row.fetch_optional(db).await?.map(|row| (row.name, row.token_hash)))
}
