//! Who may ask: keys are API tokens of users, by the header `X-API-Key` or as a bearer token.

use axum::http::{HeaderMap, header};
use orch_store::StoreResult;
use orch_store::token::{role_of_token, token_hash};
use orch_store::user::Role;
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const KEY: &str = "x-api-key";
/// A revoked key, and another role of its owner, are noticed after this long.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
const MOST_REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Keys {
    pool: PgPool,
    seen: Mutex<HashMap<[u8; 32], Seen>>,
}

/// When a key was looked for, and the role of its user.
type Seen = (Instant, Option<Role>);

impl Keys {
    pub(crate) fn new(pool: PgPool) -> Keys {
        Keys { pool, seen: Mutex::default() }
    }

    /// The role of the user whose key the headers carry.
    pub(crate) async fn role(&self, headers: &HeaderMap) -> StoreResult<Option<Role>> {
        let Some(key) = sent(headers) else { return Ok(None) };
        let (hash, now) = (token_hash(key), Instant::now());
        if let Some((at, role)) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && now - *at < REMEMBERED_FOR
        {
            return Ok(*role);
        }
        let role = role_of_token(&mut *self.pool.acquire().await?, &hash).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_REMEMBERED {
            seen.clear();
        }
        seen.insert(hash, (now, role));
        Ok(role)
    }
}

fn sent(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(KEY).and_then(|key| key.to_str().ok());
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    key.or_else(bearer).map(str::trim)
}
