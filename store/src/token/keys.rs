//! Owners of API tokens, for servers with frequent requests. Valid tokens are cached for a second.

use super::{TokenOwner, owner_of_token, token_hash};
use crate::{StoreResult, boxed};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum time until a revoked token, or a changed role of its owner, is noticed.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
const MOST_REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub struct Keys {
    pool: PgPool,
    /// Tokens that exist. Unknown tokens are not kept, since they would evict the others.
    seen: Mutex<HashMap<[u8; 32], TokenLookup>>,
}

/// Time of the query, and the owner of the token.
type TokenLookup = (Instant, TokenOwner);

impl Keys {
    pub fn new(pool: PgPool) -> Keys {
        Keys { pool, seen: Mutex::default() }
    }

    /// Returns the owner of a token, or `None` if it is not valid.
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
