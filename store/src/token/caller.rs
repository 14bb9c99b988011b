//! Tokens that tell a server of a bundle which user calls it. Behind the web server it accepts a short-lived token that
//! the web server signs for it; anywhere else it accepts API tokens.

use super::{Keys, TokenOwner, TokenScope};
use crate::setting::setting_or_insert;
use crate::{StoreError, StoreResult, boxed, user::Role};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use std::fmt;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Header in which the web server names the caller to a server of a bundle.
pub const CALLER_HEADER: &str = "x-orch-caller";

/// Setting that holds the key. The first process that needs the key creates it.
const KEY_SETTING: &str = "caller_key";
/// Requests are passed on immediately, so a token is used within milliseconds.
const LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// A server of a bundle. A token for one is not valid for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    Serving,
    Catalog,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: Audience,
    /// User name.
    sub: String,
    role: String,
    /// In seconds since the Unix epoch, exclusive.
    exp: i64,
}

/// The key by which the web server and the servers of its bundle sign and check who is calling. It is not the key of
/// login tokens, so a bundle cannot sign logins with it.
#[derive(Clone)]
pub struct CallerKey(Hmac<Sha256>);

impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerKey(***)")
    }
}

impl CallerKey {
    /// Reads the key of this installation, and creates it if it does not exist.
    #[boxed]
    pub async fn load(db: &mut PgConnection) -> StoreResult<CallerKey> {
        // Two v4 UUIDs have 244 random bits.
        let random = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Ok(CallerKey::new(&setting_or_insert(db, KEY_SETTING, &random).await?))
    }

    fn new(secret: &str) -> CallerKey {
        CallerKey(Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length"))
    }

    pub fn sign(&self, audience: Audience, user: &str, role: Role, now: DateTime<Utc>) -> String {
        let exp = (now + LIFETIME).timestamp();
        let claims = Claims { aud: audience, sub: user.into(), role: role.as_str().into(), exp };
        let claims = BASE64.encode(serde_json::to_vec(&claims).expect("claims have string keys only"));
        let mut mac = self.0.clone();
        mac.update(claims.as_bytes());
        format!("{claims}.{}", BASE64.encode(mac.finalize().into_bytes()))
    }

    /// Returns the caller. `None` if the token was signed with another key or for another server, or has expired.
    pub fn verify(&self, token: &str, audience: Audience, now: DateTime<Utc>) -> Option<TokenOwner> {
        let (signed, signature) = token.split_once('.')?;
        let mut mac = self.0.clone();
        mac.update(signed.as_bytes());
        mac.verify_slice(&BASE64.decode(signature).ok()?).ok()?;
        let claims: Claims = serde_json::from_slice(&BASE64.decode(signed).ok()?).ok()?;
        if claims.aud != audience || claims.exp <= now.timestamp() {
            return None;
        }
        Some(TokenOwner { user: claims.sub, role: claims.role.parse().ok()?, scope: TokenScope::All })
    }
}

/// Identifies the callers of a server of a bundle.
#[derive(Debug)]
pub enum Callers {
    /// Only the web server connects. It has checked the caller's credential.
    OfWeb { pool: PgPool, audience: Audience, key: OnceCell<CallerKey> },
    /// Callers send API tokens.
    WithTokens(Keys),
}

impl Callers {
    pub fn new(pool: PgPool, audience: Audience, is_behind_web: bool) -> Callers {
        if is_behind_web {
            Callers::OfWeb { pool, audience, key: OnceCell::new() }
        } else {
            Callers::WithTokens(Keys::new(pool))
        }
    }

    /// Returns the caller that `signed` (the value of [`CALLER_HEADER`]) or the API token names. Only one of them is
    /// read.
    #[boxed]
    pub async fn identify(&self, signed: Option<&str>, token: Option<&str>) -> StoreResult<Option<TokenOwner>> {
        match self {
            Callers::OfWeb { pool, audience, key } => {
                let Some(signed) = signed else { return Ok(None) };
                let load = || async { CallerKey::load(&mut *pool.acquire().await?).await };
                let key: Result<_, StoreError> = key.get_or_try_init(load).await;
                Ok(key?.verify(signed, *audience, now()))
            }
            Callers::WithTokens(keys) => match token {
                Some(token) => keys.owner(token).await,
                None => Ok(None),
            },
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the web server that signed runs on this machine, so both share a clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_token_names_its_caller_to_one_server_until_it_expires() {
        let (key, now) = (CallerKey::new("a"), DateTime::<Utc>::UNIX_EPOCH);
        let token = key.sign(Audience::Serving, "ada", Role::User, now);
        let ada = TokenOwner { user: "ada".into(), role: Role::User, scope: TokenScope::All };
        assert_eq!(key.verify(&token, Audience::Serving, now), Some(ada));
        assert_eq!(key.verify(&token, Audience::Catalog, now), None, "it is for the other server");
        assert_eq!(key.verify(&token, Audience::Serving, now + LIFETIME), None, "it has expired");
        assert_eq!(CallerKey::new("b").verify(&token, Audience::Serving, now), None, "another key signed it");
        let (_, signature) = token.split_once('.').unwrap();
        let claims = r#"{"aud":"serving","sub":"ada","role":"admin","exp":9999999999}"#;
        let raised = format!("{}.{signature}", BASE64.encode(claims));
        for forged in [raised.as_str(), "admin", ".", "", &format!("{}.", BASE64.encode(claims))] {
            assert_eq!(key.verify(forged, Audience::Serving, now), None, "{forged}");
        }
    }
}
