//! Tokens that people make for programs: 256 random bits, of which the database keeps the hash. They end when they are
//! revoked, when their time is over, and with their user.

use super::session::{Hash, random_text};
use super::{Auth, Caller, bearer};
use crate::refusal::Refusal;
use axum::http::HeaderMap;
use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::TriggeredBy;
use orch_store::StoreError;
use orch_store::token::{TokenRow, TokenScope, get_token, token_hash};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// By which people and scanners of secrets know one.
const PREFIX: &str = "orch_";
/// As for sessions.
const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(1);
const MOST_REMEMBERED: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct ApiTokens {
    seen: Mutex<HashMap<Hash, CachedToken>>,
}

/// When it was looked for, and what was found.
type CachedToken = (DateTime<Utc>, Option<TokenRow>);

/// A token that was made just now: shown once.
pub(crate) struct FreshToken {
    pub(crate) text: String,
    pub(crate) hash: Hash,
}

impl FreshToken {
    pub(crate) fn random() -> FreshToken {
        let text = format!("{PREFIX}{}", random_text());
        FreshToken { hash: token_hash(&text), text }
    }
}

pub(super) fn is_api_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Whether a token is sent that a login was changed for.
pub(crate) fn is_jwt(headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|token| !is_api_token(token))
}

impl ApiTokens {
    async fn get(&self, pool: &PgPool, hash: Hash, now: DateTime<Utc>) -> Result<Option<TokenRow>, Refusal> {
        {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, token)) = seen.get(&hash)
                && (TimeDelta::zero()..REMEMBERED_FOR).contains(&(now - *at))
            {
                return Ok(token.clone());
            }
        }
        let mut db = pool.acquire().await.map_err(StoreError::from)?;
        let token = get_token(&mut db, &hash).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_REMEMBERED {
            seen.clear();
        }
        seen.insert(hash, (now, token.clone()));
        Ok(token)
    }

    pub(super) fn forget_all(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Auth {
    /// Whose token it is.
    pub(super) async fn owner(&self, pool: &PgPool, text: &str, now: DateTime<Utc>) -> Result<Caller, Refusal> {
        let revoked = Refusal::NotLoggedIn("Token was revoked");
        let Some(token) = self.api_tokens.get(pool, token_hash(text), now).await? else { return Err(revoked) };
        if token.expires_at.is_some_and(|at| at <= now) {
            return Err(Refusal::NotLoggedIn("Token Expired"));
        }
        if token.scope != TokenScope::All {
            return Err(Refusal::NotLoggedIn("Token is for published queries only"));
        }
        match self.users.get(pool, &token.user, now).await? {
            Some(known) if known.generation == token.generation => {
                Ok(Caller { name: token.user.into(), role: known.role, through: TriggeredBy::RestApi })
            }
            _ => Err(revoked),
        }
    }
}
