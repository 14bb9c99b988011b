//! Browser sessions: a random cookie, and a CSRF token in each form.
//!
//! The cookie is 256 random bits, of which the database stores the hash. A session ends at logout, when the password
//! changes, when the user is deleted, and when it expires. Other servers apply this within a second. Logins of programs
//! are stored in the same way.

use super::{ActiveUser, Auth, Caller, Password, WRONG_LOGIN};
use crate::refusal::Refusal;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use orch_spec::state::TriggeredBy;
use orch_store::StoreError;
use orch_store::audit::{Deed, record};
use orch_store::session::{NewSession, SessionKind, SessionRow, close_session, get_session, open_session};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use std::net::IpAddr;
use std::time::Duration;
use uuid::Uuid;

const TOKEN_BYTES: usize = 32;
const CSRF_BYTES: usize = 16;

/// Maximum length of a stored user agent. Longer ones are truncated.
const MOST_AGENT_CHARS: usize = 200;

pub(crate) type Hash = [u8; 32];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) ip: IpAddr,
    pub(crate) headers: &'a HeaderMap,
}

impl Origin<'_> {
    /// Returns the user agent, which helps users to recognize their sessions.
    fn user_agent(&self) -> String {
        let said = self.headers.get(header::USER_AGENT).and_then(|said| said.to_str().ok()).unwrap_or_default();
        said.chars().take(MOST_AGENT_CHARS).collect()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    /// Hash of the cookie, the key in the database.
    pub(crate) hash: Hash,
    csrf: [u8; CSRF_BYTES],
}

impl Session {
    /// Returns the CSRF token for a form. It is masked with a new random pad each time, so that the length of a
    /// compressed page does not reveal it (BREACH).
    pub(crate) fn form_token(&self) -> String {
        let pad = *Uuid::new_v4().as_bytes();
        let mut token = [0; 2 * CSRF_BYTES];
        token[..CSRF_BYTES].copy_from_slice(&pad);
        for (place, byte) in token[CSRF_BYTES..].iter_mut().enumerate() {
            *byte = pad[place] ^ self.csrf[place];
        }
        BASE64.encode(token)
    }

    pub(crate) fn is_form_token(&self, sent: &str) -> bool {
        let Ok(sent) = BASE64.decode(sent) else { return false };
        let Ok(sent) = <[u8; 2 * CSRF_BYTES]>::try_from(sent) else { return false };
        // Constant-time comparison: all bytes are read, regardless of where they differ.
        let differs = (0..CSRF_BYTES).fold(0, |differs, i| differs | (sent[i] ^ sent[i + CSRF_BYTES] ^ self.csrf[i]));
        differs == 0
    }
}

impl Auth {
    async fn session_row(&self, pool: &PgPool, hash: Hash, now: DateTime<Utc>) -> Result<Option<SessionRow>, Refusal> {
        if let Some(session) = self.sessions.fresh(&hash, now) {
            return Ok(Some(session));
        }
        let mut db = pool.acquire().await.map_err(StoreError::from)?;
        let session = get_session(&mut db, &hash).await?;
        self.sessions.keep(hash, now, session.clone());
        Ok(session)
    }

    /// Checks a password and returns the cookie value of a new session.
    pub(crate) async fn open_session(
        &self,
        pool: &PgPool,
        login: (&str, Password),
        from: Origin<'_>,
        lifetime: Duration,
    ) -> Result<String, Refusal> {
        let (user, known) = self.right_user(pool, login, (SessionKind::Browser, from.ip)).await?;
        let token = random_text();
        self.keep(pool, (&user, &known), (SessionKind::Browser, &token), from, lifetime).await?;
        Ok(token)
    }

    /// Stores a login and returns the time at which it expires.
    pub(super) async fn keep(
        &self,
        pool: &PgPool,
        (user, known): (&str, &ActiveUser),
        (kind, token): (SessionKind, &str),
        from: Origin<'_>,
        lifetime: Duration,
    ) -> Result<DateTime<Utc>, Refusal> {
        let now = self.clock.now();
        let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
        let expires_at = now.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let new = NewSession {
            token_hash: &digest(token),
            user,
            stamp: &known.stamp,
            kind,
            client_ip: &from.ip.to_string(),
            user_agent: &from.user_agent(),
            now,
            expires_at,
        };
        let mut tx = pool.begin().await.map_err(StoreError::from)?;
        open_session(&mut tx, &new).await?;
        record(&mut tx, &login("log_in", user, (kind, from.ip))).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(expires_at)
    }

    /// Returns whether the cookie in these headers belonged to a session before. `None` without such a cookie.
    pub(crate) fn knows_session(&self, headers: &HeaderMap, cookie: &str) -> Option<bool> {
        let token = cookie_of(headers, cookie).filter(|token| is_token(token))?;
        Some(self.sessions.knows(&digest(token)))
    }

    pub(crate) async fn session(&self, pool: &PgPool, headers: &HeaderMap, cookie: &str) -> Result<Session, Refusal> {
        let token = cookie_of(headers, cookie).filter(|token| is_token(token));
        let token = token.ok_or(Refusal::NotLoggedIn("Not authenticated"))?;
        let now = self.clock.now();
        let over = Refusal::NotLoggedIn("the session is over");
        let hash = digest(token);
        match self.caller_of(pool, hash, now).await? {
            Some(caller) => Ok(Session { caller, hash, csrf: form_secret(token) }),
            None => Err(over),
        }
    }

    /// Returns the caller whose login has this hash, unless the login has ended.
    pub(super) async fn caller_of(
        &self,
        pool: &PgPool,
        hash: Hash,
        now: DateTime<Utc>,
    ) -> Result<Option<Caller>, Refusal> {
        let Some(session) = self.session_row(pool, hash, now).await? else { return Ok(None) };
        if session.expires_at <= now {
            return Ok(None);
        }
        let known = self.users.get(pool, &session.user, now).await?;
        let known = known.filter(|known| known.stamp == session.stamp);
        Ok(known.map(|known| Caller { name: session.user.into(), role: known.role, through: TriggeredBy::RestApi }))
    }

    /// Closes the session that a new login in the same browser replaces.
    pub(crate) async fn close_session(&self, pool: &PgPool, headers: &HeaderMap, cookie: &str) -> Result<(), Refusal> {
        let Some(token) = cookie_of(headers, cookie).filter(|token| is_token(token)) else { return Ok(()) };
        let hash = digest(token);
        let mut db = pool.acquire().await.map_err(StoreError::from)?;
        close_session(&mut db, &hash).await?;
        self.sessions.forget(&hash);
        Ok(())
    }

    /// Ends a session when its owner logs out.
    pub(crate) async fn end_session(&self, pool: &PgPool, session: &Session, from: IpAddr) -> Result<(), Refusal> {
        self.end(pool, (session.hash, &session.caller.name), (SessionKind::Browser, from)).await
    }

    pub(super) async fn end(
        &self,
        pool: &PgPool,
        (hash, user): (Hash, &str),
        from: (SessionKind, IpAddr),
    ) -> Result<(), Refusal> {
        let mut tx = pool.begin().await.map_err(StoreError::from)?;
        // If two requests log out concurrently, only one of them is recorded.
        if close_session(&mut tx, &hash).await? {
            record(&mut tx, &login("log_out", user, from)).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        self.sessions.forget(&hash);
        Ok(())
    }
}

/// Returns the audit record of a login or logout.
pub(super) fn login<'a>(event: &'a str, user: &'a str, (kind, from): (SessionKind, IpAddr)) -> Deed<'a> {
    Deed { actor: user, event, extra: Some(json!({ "kind": kind.as_str(), "from": from })), ..Deed::default() }
}

/// Returns 256 unpredictable bits as text.
pub(super) fn random_text() -> String {
    // Two v4 UUIDs contain 244 random bits; the hash distributes them over the whole text.
    let mut hash = Sha256::new();
    hash.update(Uuid::new_v4());
    hash.update(Uuid::new_v4());
    BASE64.encode(hash.finalize())
}

pub(crate) fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(known, value)| (known == name).then_some(value))
}

fn is_token(token: &str) -> bool {
    BASE64.decode(token).is_ok_and(|bytes| bytes.len() == TOKEN_BYTES)
}

pub(super) fn digest(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn form_secret(token: &str) -> [u8; CSRF_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"orch form token of ");
    hash.update(token.as_bytes());
    let mut secret = [0; CSRF_BYTES];
    secret.copy_from_slice(&hash.finalize()[..CSRF_BYTES]);
    secret
}

pub(crate) fn is_wrong_login(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotLoggedIn(WRONG_LOGIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use axum::http::HeaderValue;

    fn session(token: &str) -> Session {
        Session {
            caller: Caller { name: "ada".into(), role: Role::Viewer, through: TriggeredBy::RestApi },
            hash: digest(token),
            csrf: form_secret(token),
        }
    }

    #[test]
    fn a_form_token_is_good_for_its_session_only_and_never_looks_the_same() {
        let (one, other) = (session("one"), session("other"));
        let (first, second) = (one.form_token(), one.form_token());
        assert!(first != second && one.is_form_token(&first) && one.is_form_token(&second));
        assert!(!other.is_form_token(&first));
        for wrong in ["", "AAAA", &first[1..], &BASE64.encode([0; 32])] {
            assert!(!one.is_form_token(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("xorch=1; theme=dark"));
        headers.append(header::COOKIE, HeaderValue::from_static("orch=a=b;orch2=3"));
        assert_eq!(cookie_of(&headers, "orch"), Some("a=b"));
        assert_eq!(cookie_of(&headers, "theme"), Some("dark"));
        assert_eq!(cookie_of(&headers, "rch"), None);
    }
}
