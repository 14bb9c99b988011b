//! Cached lookup of the owners of API tokens, for servers that receive many requests. Valid tokens are cached for one
//! second.

use super::{TokenOwner, owner_of_token, token_hash};
use crate::{StoreResult, boxed};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Cache duration: for this long, a revoked token or the old role of its owner may still be accepted.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
const MOST_REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub struct Keys {
    pool: PgPool,
    /// Valid tokens by hash. Unknown tokens are not cached, because requests with random tokens would then evict the
    /// valid ones.
    seen: Mutex<HashMap<[u8; 32], TokenLookup>>,
}

/// A cached token: the time of the database query, and the owner of the token.
type TokenLookup = (Instant, TokenOwner);

impl Keys {
    pub fn new(pool: PgPool) -> Keys {
        Keys { pool, seen: Mutex::default() }
    }

    /// Returns the owner of an API token, or `None` if the token is not valid.
    #[boxed]
    pub async fn owner(&self, token: &str) -> StoreResult<Option<TokenOwner>> {
        let (hash, now) = (token_hash(token), Instant::now());
        if let Some((at, owner)) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && now - *at < REMEMBERED_FOR
        {
            return Ok(Some(owner.clone()));
        }
        let owner = owner_of_token(&mut *self.pool.acquire().await?, &hash).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(owner) = owner else {
            seen.remove(&hash);
            return Ok(None);
        };
        if seen.len() >= MOST_REMEMBERED {
            seen.clear();
        }
        seen.insert(hash, (now, owner.clone()));
        Ok(Some(owner))
    }
}
