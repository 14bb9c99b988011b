//! Authentication and authorization: passwords, tokens, sessions, and the role of a caller.
//!
//! Logins, tokens and users are read from the database at most once a second. A change by this server applies
//! immediately.

mod api_token;
mod failures;
mod found;
mod password;
mod session;
mod token;
mod users;

pub use orch_store::user::Role;
pub use password::Password;

pub use api_token::FreshToken;
pub(crate) use password::{Hasher, verify};
pub(crate) use session::{Hash, Origin, Session, cookie_of, is_wrong_login};

use crate::clock::Clock;
use crate::refusal::Refusal;
use api_token::is_api_token;
use axum::http::{HeaderMap, header};
use failures::Failures;
use found::Found;
use orch_spec::state::TriggeredBy;
use orch_spec::text::without_nul;
use orch_store::StoreError;
use orch_store::audit::record;
use orch_store::session::{SessionKind, SessionRow};
use orch_store::token::{Audience, CallerKey, TokenRow, TokenScope, token_hash};
use session::{digest, login, random_text};
use sqlx::PgPool;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use token::{Claims, Signer, TokenError};
use tokio::sync::OnceCell;
use users::{ActiveUser, Users};

#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub name: Arc<str>,
    pub role: Role,
    /// Recorded as the trigger of runs that this caller creates.
    pub through: TriggeredBy,
}

#[derive(Debug)]
pub(crate) struct Auth {
    clock: Clock,
    users: Users,
    sessions: Found<Hash, SessionRow>,
    api_tokens: Found<Hash, TokenRow>,
    failures: Failures,
    hasher: Hasher,
    signer: OnceCell<Signer>,
    caller_key: OnceCell<CallerKey>,
}

const WRONG_LOGIN: &str = "Invalid credentials";
/// Maximum length of the user name in the audit record of a failed login. Clients may send any text.
const MOST_ATTEMPTED_CHARS: usize = 64;

impl Auth {
    pub(crate) fn new(clock: Clock) -> Auth {
        let (users, failures, hasher) = (Users::default(), Failures::default(), Hasher::default());
        let (sessions, api_tokens, signer) = (Found::default(), Found::default(), OnceCell::new());
        Auth { clock, users, sessions, api_tokens, failures, hasher, signer, caller_key: OnceCell::new() }
    }

    /// Checks a password and returns a token.
    pub(crate) async fn log_in(
        &self,
        pool: &PgPool,
        login: (&str, Password),
        from: Origin<'_>,
        lifetime: Duration,
    ) -> Result<String, Refusal> {
        let signer = self.signer(pool).await?;
        let (sub, known) = self.right_user(pool, login, (SessionKind::Program, from.ip)).await?;
        let (jti, iat) = (random_text(), self.clock.now().timestamp());
        let expires = self.keep(pool, (&sub, &known), (SessionKind::Program, &jti), from, lifetime).await?;
        Ok(signer.sign(&Claims { sub, iat, exp: expires.timestamp(), jti }))
    }

    /// Returns the user with this name and password. A wrong name and a wrong password cause the same response after
    /// the same time.
    async fn right_user(
        &self,
        pool: &PgPool,
        (name, password): (&str, Password),
        (kind, from): (SessionKind, IpAddr),
    ) -> Result<(String, ActiveUser), Refusal> {
        let now = self.clock.now();
        self.failures.begin(name, from, now).map_err(|retry_after| Refusal::TooManyLogins { retry_after })?;
        let user = users::read(pool, name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.hasher.matches(password, hash).await?;
        let known = user.as_ref().map(ActiveUser::of).transpose()?.flatten();
        let Some((user, known)) = user.zip(known).filter(|_| right) else {
            tracing::warn!(user.name = %name.escape_debug(), client.ip = %from, "a login failed");
            if self.failures.may_be_noted(now) {
                let mut db = pool.acquire().await.map_err(StoreError::from)?;
                record(&mut db, &login("log_in_failed", &attempted(name), (kind, from))).await?;
            }
            return Err(Refusal::NotLoggedIn(WRONG_LOGIN));
        };
        self.failures.forget(name, from, now);
        Ok((user.name, known))
    }

    pub(crate) async fn caller(&self, pool: &PgPool, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = bearer(headers).ok_or(Refusal::NotLoggedIn("Not authenticated"))?;
        self.caller_by(pool, token, TokenScope::All).await
    }

    /// Returns the owner of this token, which must be valid for `scope`.
    pub(crate) async fn caller_by(&self, pool: &PgPool, token: &str, scope: TokenScope) -> Result<Caller, Refusal> {
        let now = self.clock.now();
        if is_api_token(token) {
            return self.owner(pool, token, scope, now).await;
        }
        let claims = self.claims(pool, token).await?;
        let caller = self.caller_of(pool, digest(&claims.jti), now).await?;
        caller.filter(|caller| *caller.name == *claims.sub).ok_or(Refusal::NotLoggedIn("Token was revoked"))
    }

    /// Returns whether this token was valid before. The rate limit then charges its user instead of the address.
    pub(crate) fn knows(&self, token: &str) -> bool {
        if is_api_token(token) {
            return self.api_tokens.knows(&token_hash(token));
        }
        let claims = self.signer.get().and_then(|signer| signer.verify(token, self.clock.now()).ok());
        claims.is_some_and(|claims| self.sessions.knows(&digest(&claims.jti)))
    }

    /// Returns a signed token that identifies the caller to a server of the bundle.
    pub(crate) async fn sign(&self, pool: &PgPool, audience: Audience, caller: &Caller) -> Result<String, Refusal> {
        let load = || async { CallerKey::load(&mut *pool.acquire().await?).await };
        let key: Result<_, StoreError> = self.caller_key.get_or_try_init(load).await;
        Ok(key?.sign(audience, &caller.name, caller.role, self.clock.now()))
    }

    /// Ends the login whose token is in these headers. Rejects API tokens, which their owners revoke on the page
    /// `/account`.
    pub(crate) async fn log_out(&self, pool: &PgPool, headers: &HeaderMap, from: IpAddr) -> Result<(), Refusal> {
        let token = bearer(headers).ok_or(Refusal::NotLoggedIn("Not authenticated"))?;
        if is_api_token(token) {
            return Err(Refusal::bad_request("an API token is revoked by its owner, on the page `/account`"));
        }
        let claims = self.claims(pool, token).await?;
        self.end(pool, (digest(&claims.jti), &claims.sub), (SessionKind::Program, from)).await
    }

    async fn claims(&self, pool: &PgPool, token: &str) -> Result<Claims, Refusal> {
        let now = self.clock.now();
        self.signer(pool).await?.verify(token, now).map_err(|error| match error {
            TokenError::Expired => Refusal::NotLoggedIn("Token Expired"),
            TokenError::Invalid => Refusal::NotLoggedIn("Invalid JWT token"),
        })
    }

    pub(crate) async fn hash(&self, password: Password) -> Result<String, Refusal> {
        self.hasher.hash(password).await
    }

    /// Checks the password of a signed-in user again. Returns its hash, and the stamp of sessions after a change to
    /// `new_hash`.
    pub(crate) async fn confirm(
        &self,
        pool: &PgPool,
        (name, password): (&str, Password),
        from: IpAddr,
        new_hash: &str,
    ) -> Result<(String, String), Refusal> {
        let now = self.clock.now();
        self.failures.begin(name, from, now).map_err(|retry_after| Refusal::TooManyLogins { retry_after })?;
        let user = users::read(pool, name).await?.ok_or(Refusal::NotLoggedIn(WRONG_LOGIN))?;
        if !self.hasher.matches(password, Some(user.password_hash.clone())).await? {
            return Err(Refusal::NotLoggedIn(WRONG_LOGIN));
        }
        self.failures.forget(name, from, now);
        Ok((user.password_hash, users::stamp(new_hash, user.generation)))
    }

    /// Invalidates cached users, sessions and tokens after a change by this server, so that they are read again
    /// immediately.
    pub(crate) fn changed(&self, user: &str) {
        self.users.forget(user);
        self.sessions.expire_all();
        self.api_tokens.expire_all();
    }

    async fn signer(&self, pool: &PgPool) -> Result<&Signer, Refusal> {
        self.signer.get_or_try_init(|| Signer::load(pool)).await
    }
}

fn attempted(name: &str) -> String {
    without_nul(name).chars().take(MOST_ATTEMPTED_CHARS).collect()
}

/// Returns the token of `Authorization: Bearer …`. Tokens are not accepted from other places, in particular not from
/// URLs.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
