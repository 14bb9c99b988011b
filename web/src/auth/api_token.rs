//! API tokens that users create for programs: 256 random bits, of which the database stores only the hash. A token is
//! valid until it is revoked, it expires or its user is deleted.

use super::session::{Hash, random_text};
use super::{Auth, Caller};
use crate::refusal::Refusal;
use chrono::{DateTime, Utc};
use orch_spec::state::TriggeredBy;
use orch_store::StoreError;
use orch_store::token::{TokenRow, TokenScope, get_token, token_hash};
use sqlx::PgPool;

/// Prefix of API tokens, by which users and secret scanners recognize them.
const PREFIX: &str = "orch_";

/// A new token. Its text is shown once, and the database stores only the hash.
pub struct FreshToken {
    pub text: String,
    pub hash: [u8; 32],
}

impl FreshToken {
    #[must_use]
    pub fn random() -> FreshToken {
        let text = format!("{PREFIX}{}", random_text());
        FreshToken { hash: token_hash(&text), text }
    }
}

pub(super) fn is_api_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl Auth {
    async fn api_token(&self, pool: &PgPool, hash: Hash, now: DateTime<Utc>) -> Result<Option<TokenRow>, Refusal> {
        if let Some(token) = self.api_tokens.fresh(&hash, now) {
            return Ok(Some(token));
        }
        let mut db = pool.acquire().await.map_err(StoreError::from)?;
        let token = get_token(&mut db, &hash).await?;
        self.api_tokens.keep(hash, now, token.clone());
        Ok(token)
    }

    /// Returns the owner of an API token, which must be valid for `scope`.
    pub(super) async fn owner(
        &self,
        pool: &PgPool,
        text: &str,
        scope: TokenScope,
        now: DateTime<Utc>,
    ) -> Result<Caller, Refusal> {
        let revoked = Refusal::NotLoggedIn("Token was revoked");
        let Some(token) = self.api_token(pool, token_hash(text), now).await? else { return Err(revoked) };
        if token.expires_at.is_some_and(|at| at <= now) {
            return Err(Refusal::NotLoggedIn("Token Expired"));
        }
        if ![TokenScope::All, scope].contains(&token.scope) {
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
