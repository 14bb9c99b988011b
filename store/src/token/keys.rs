//! Whose a token is, for servers that are asked often: an answer is remembered for a moment.

use super::{TokenOwner, owner_of_token, token_hash};
use crate::{StoreResult, boxed};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A revoked token, and another role of its owner, are noticed after this long.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
const MOST_REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub struct Keys {
    pool: PgPool,
    seen: Mutex<HashMap<[u8; 32], TokenLookup>>,
}

/// When a token was looked for, and whose it is.
type TokenLookup = (Instant, Option<TokenOwner>);

impl Keys {
    pub fn new(pool: PgPool) -> Keys {
        Keys { pool, seen: Mutex::default() }
    }

    /// The user whose token it is, unless it has ended.
    #[boxed]
    pub async fn owner(&self, token: &str) -> StoreResult<Option<TokenOwner>> {
        let (hash, now) = (token_hash(token), Instant::now());
        if let Some((at, owner)) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && now - *at < REMEMBERED_FOR
        {
            return Ok(owner.clone());
        }
        let owner = owner_of_token(&mut *self.pool.acquire().await?, &hash).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_REMEMBERED {
            seen.clear();
        }
        seen.insert(hash, (now, owner.clone()));
        Ok(owner)
    }
}
