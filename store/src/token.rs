//! API tokens, which users create for programs. Only hashes of the tokens are stored. Functions take the current time
//! from the caller unless their documentation says otherwise.

mod caller;
mod keys;

pub use caller::{Audience, CALLER_HEADER, CallerKey, Callers};
pub use keys::Keys;

use crate::{StoreError, StoreResult, boxed, user::Role};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgConnection;

/// Maximum number of tokens of one user.
pub const MOST_TOKENS: i64 = 100;

#[derive(Debug, Clone)]
pub struct NewToken<'a> {
    pub token_hash: &'a [u8],
    pub user: &'a str,
    /// Name of the token, chosen by its owner.
    pub name: &'a str,
    pub scope: TokenScope,
    pub now: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// The permissions that an API token grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenScope {
    /// All permissions of the token's owner.
    All,
    /// Access to published queries only.
    Serving,
}

impl TokenScope {
    pub const BOTH: [TokenScope; 2] = [TokenScope::All, TokenScope::Serving];

    pub fn as_str(self) -> &'static str {
        match self {
            TokenScope::All => "all",
            TokenScope::Serving => "serving",
        }
    }

    /// Parses a scope as it is spelled in the database and in forms.
    pub fn of(word: &str) -> Option<TokenScope> {
        Self::BOTH.into_iter().find(|scope| scope.as_str() == word)
    }

    fn read(word: &str) -> StoreResult<TokenScope> {
        Self::of(word).ok_or_else(|| StoreError::corrupt(format!("`{word}` is no scope of a token")))
    }
}

/// Returns the hash of a token. Only this hash is stored, and tokens are looked up by it.
pub fn token_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddToken {
    Added,
    /// The token was not created: its name is already used, or the user is not allowed to log in.
    Taken,
    TooMany,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub user: String,
    pub scope: TokenScope,
    pub generation: i32,
    pub expires_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone)]
pub struct ListedToken {
    pub id: i64,
    pub name: String,
    pub scope: TokenScope,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Creates a token for a user, and deletes the user's expired tokens. Must run inside the caller's transaction: it
/// locks the user's row, so that two concurrent requests cannot exceed the maximum number of tokens.
#[boxed]
pub async fn add_token(db: &mut PgConnection, new: &NewToken<'_>) -> StoreResult<AddToken> {
    sqlx::query("select from api_user where name = $1 for no key update").bind(new.user).execute(&mut *db).await?;
    sqlx::query!("delete from api_token where user_name = $1 and expires_at <= $2", new.user, new.now)
        .execute(&mut *db)
        .await?;
    let count = sqlx::query_scalar!(r#"select count(*) as "n!" from api_token where user_name = $1"#, new.user);
    if count.fetch_one(&mut *db).await? >= MOST_TOKENS {
        return Ok(AddToken::TooMany);
    }
    let done = sqlx::query!(
        "insert into api_token (token_hash, user_name, name, generation, created_at, expires_at, scope)
        select $1, name, $3, generation, $4, $5, $6 from api_user where name = $2 and not is_disabled
        on conflict (user_name, name) do nothing",
        new.token_hash,
        new.user,
        new.name,
        new.now,
        new.expires_at,
        new.scope.as_str()
    );
    Ok(if done.execute(db).await?.rows_affected() == 1 { AddToken::Added } else { AddToken::Taken })
}

#[boxed]
pub async fn get_token(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<Option<TokenRow>> {
    let row = sqlx::query!(
        r#"select user_name as "user", scope, generation, expires_at from api_token where token_hash = $1"#,
        token_hash
    );
    let Some(row) = row.fetch_optional(db).await? else { return Ok(None) };
    let (user, scope) = (row.user, TokenScope::read(&row.scope)?);
    Ok(Some(TokenRow { user, scope, generation: row.generation, expires_at: row.expires_at }))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOwner {
    pub user: String,
    pub role: Role,
    pub scope: TokenScope,
}

/// Returns the owner of a token. Returns `None` if the token does not exist, has been revoked or has expired by the
/// database clock.
#[boxed]
pub async fn owner_of_token(db: &mut PgConnection, token_hash: &[u8]) -> StoreResult<Option<TokenOwner>> {
    let row = sqlx::query!(
        r#"select u.name as "user", u.role, t.scope
        from api_token t join api_user u on u.name = t.user_name and u.generation = t.generation
        where t.token_hash = $1 and not u.is_disabled and (t.expires_at is null or t.expires_at > now())"#,
        token_hash
    );
    let Some(row) = row.fetch_optional(db).await? else { return Ok(None) };
    let (role, scope) = (row.role.parse().map_err(StoreError::corrupt)?, TokenScope::read(&row.scope)?);
    Ok(Some(TokenOwner { user: row.user, role, scope }))
}

/// Returns the tokens of one user, newest first.
#[boxed]
pub async fn list_tokens(db: &mut PgConnection, user: &str) -> StoreResult<Vec<ListedToken>> {
    let rows = sqlx::query!(
        "select id, name, scope, created_at, expires_at from api_token where user_name = $1 order by id desc limit 1000",
        user
    );
    let rows = rows.fetch_all(db).await?.into_iter().map(|row| {
        let scope = TokenScope::read(&row.scope)?;
        Ok(ListedToken { id: row.id, name: row.name, scope, created_at: row.created_at, expires_at: row.expires_at })
    });
    rows.collect()
}

/// Revokes a token. Returns the token's name and hash, or `None` if it does not exist.
#[boxed]
pub async fn revoke_token(db: &mut PgConnection, user: &str, id: i64) -> StoreResult<Option<(String, Vec<u8>)>> {
    let row =
        sqlx::query!("delete from api_token where user_name = $1 and id = $2 returning name, token_hash", user, id);
    Ok(row.fetch_optional(db).await?.map(|row| (row.name, row.token_hash)))
}
