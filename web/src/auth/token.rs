//! Tokens of logins: JWTs signed with HMAC-SHA256 by a key that only this installation has.
//!
//! There is one algorithm and one header, which is compared as a whole. The algorithm in a token's header is never
//! trusted.

use crate::WebError;
use crate::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use orch_store::setting::setting_or_insert;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use std::fmt;
use uuid::Uuid;

/// Base64 of `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// Setting that stores the key. The first server that needs the key creates it.
const KEY_SETTING: &str = "token_key";
const KEY_BYTES: usize = 32;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The user.
    pub(super) sub: String,
    pub(super) iat: i64,
    /// Expiry in seconds since the Unix epoch.
    pub(super) exp: i64,
    /// Identifies the login. The token becomes invalid when that login ends.
    pub(super) jti: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    Invalid,
    Expired,
}

pub(super) struct Signer {
    /// Initialized with the key and cloned for each token.
    mac: Hmac<Sha256>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(***)")
    }
}

impl Signer {
    pub(super) async fn load(pool: &PgPool) -> Result<Signer, Refusal> {
        let random: [u8; KEY_BYTES] = {
            // Two v4 UUIDs contain 244 random bits; the hash distributes them over the whole key.
            let mut hash = Sha256::new();
            hash.update(Uuid::new_v4());
            hash.update(Uuid::new_v4());
            hash.finalize().into()
        };
        let mut db = pool.acquire().await.map_err(orch_store::StoreError::from)?;
        let kept = setting_or_insert(&mut db, KEY_SETTING, &BASE64.encode(random)).await?;
        let damaged = || Refusal::Broken(WebError::Key(KEY_SETTING).to_string());
        let key = BASE64.decode(kept).ok().filter(|key| key.len() == KEY_BYTES).ok_or_else(damaged)?;
        Signer::new(&key).ok_or_else(damaged)
    }

    fn new(key: &[u8]) -> Option<Signer> {
        Some(Signer { mac: Hmac::new_from_slice(key).ok()? })
    }

    pub(super) fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("claims have string keys only");
        let mut token = format!("{HEADER}.{}", BASE64.encode(claims));
        let mut mac = self.mac.clone();
        mac.update(token.as_bytes());
        let signature = mac.finalize().into_bytes();
        token.push('.');
        BASE64.encode_string(signature, &mut token);
        token
    }

    pub(super) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        let signature = BASE64.decode(signature).map_err(|_| TokenError::Invalid)?;
        let mut mac = self.mac.clone();
        mac.update(signed.as_bytes());
        // Constant-time comparison.
        mac.verify_slice(&signature).map_err(|_| TokenError::Invalid)?;
        if header != HEADER {
            return Err(TokenError::Invalid);
        }
        let claims = BASE64.decode(claims).map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Invalid)?;
        if claims.exp <= now.timestamp() { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims { sub: "ada".into(), iat: 1_000, exp: 2_000, jti: "s".into() }
    }

    fn signer(key: u8) -> Signer {
        Signer::new(&[key; KEY_BYTES]).expect("any length is a key")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a moment")
    }

    #[test]
    fn a_token_says_who_it_is_for_until_it_expires() {
        let token = signer(1).sign(&claims());
        assert_eq!(signer(1).verify(&token, at(1_999)), Ok(claims()));
        assert_eq!(signer(1).verify(&token, at(2_000)), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_another_key_or_with_any_changed_character_is_invalid() {
        let token = signer(1).sign(&claims());
        assert_eq!(signer(2).verify(&token, at(1_500)), Err(TokenError::Invalid));
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(signer(1).verify(&changed, at(1_500)), Err(TokenError::Invalid), "at {place}");
        }
    }

    #[test]
    fn what_a_token_says_of_its_algorithm_is_not_believed() {
        let none = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let body = BASE64.encode(serde_json::to_vec(&claims()).expect("JSON"));
        let other_header = {
            let signed = format!("{none}.{body}");
            let mut mac = signer(1).mac;
            mac.update(signed.as_bytes());
            format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()))
        };
        for token in [format!("{none}.{body}."), format!("{none}.{body}"), other_header, "..".into(), String::new()] {
            assert_eq!(signer(1).verify(&token, at(1_500)), Err(TokenError::Invalid), "{token}");
        }
    }
}
