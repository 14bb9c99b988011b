//! Authenticates callers of a bundle's HTTP servers. If the server runs behind the web server, it accepts a short-lived
//! token that the web server signs for the caller. Otherwise it accepts API tokens.

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

/// HTTP header with the signed token by which the web server tells a bundle's server who the caller is.
pub const CALLER_HEADER: &str = "x-orch-caller";

/// Name of the stored setting that contains the signing key. The first process that needs the key generates it.
const KEY_SETTING: &str = "caller_key";
/// Lifetime of a caller token. It can be short, because a forwarded request uses its token within milliseconds.
const LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// The kind of bundle server for which a token is issued. Other kinds reject it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    Serving,
    Catalog,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: Audience,
    /// Name of the user who calls the server.
    sub: String,
    role: String,
    /// Expiry in seconds since the Unix epoch, exclusive.
    exp: i64,
}

/// Key with which the web server signs caller tokens and bundle servers verify them. It differs from the key of login
/// tokens, so that a bundle cannot forge logins.
#[derive(Clone)]
pub struct CallerKey(Hmac<Sha256>);

impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerKey(***)")
    }
}

impl CallerKey {
    /// Loads the signing key of this installation. Generates and stores it if it does not exist.
    #[boxed]
    pub async fn load(db: &mut PgConnection) -> StoreResult<CallerKey> {
        // The key consists of two v4 UUIDs, which contain 244 random bits.
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

    /// Returns the caller that a token names. Returns `None` if the token has expired, was signed with another key or
    /// was issued for another kind of server.
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

/// How a bundle's server authenticates its callers.
#[derive(Debug)]
pub enum Callers {
    /// Only the web server can connect, and it has already checked the caller's credentials.
    OfWeb { pool: PgPool, audience: Audience, key: OnceCell<CallerKey> },
    /// Callers connect directly and send API tokens.
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

    /// Returns the authenticated caller. Depending on the mode, reads either `signed` (the value of [`CALLER_HEADER`])
    /// or the API token, and ignores the other.
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
