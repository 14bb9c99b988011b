//! Who is calling: passwords, the tokens they are changed for, and whether a caller may do what a route does.
//!
//! A token is checked in memory. What it cannot say itself, whether its user still exists with the password and the role
//! it was made for, is asked of the database at most once a second and user.

mod failures;
mod password;
mod role;
mod session;
mod token;
mod users;

pub use password::Password;
pub use role::Role;

pub(crate) use password::{Hasher, verify};
pub(crate) use session::{Session, cookie_of, is_wrong_login};

use crate::clock::Clock;
use crate::refusal::Refusal;
use axum::http::{HeaderMap, header};
use chrono::TimeDelta;
use failures::Failures;
use session::Sessions;
use sqlx::PgPool;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use token::{Claims, Signer, TokenError};
use tokio::sync::OnceCell;
use users::{Known, Users};

/// A signed-in user, as handlers see one.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub name: Arc<str>,
    pub role: Role,
}

#[derive(Debug)]
pub(crate) struct Auth {
    clock: Clock,
    users: Users,
    sessions: Sessions,
    failures: Failures,
    hasher: Hasher,
    signer: OnceCell<Signer>,
}

const WRONG_LOGIN: &str = "Invalid credentials";

impl Auth {
    pub(crate) fn new(clock: Clock) -> Auth {
        let (users, failures, hasher) = (Users::default(), Failures::default(), Hasher::default());
        let sessions = Sessions::default();
        Auth { clock, users, sessions, failures, hasher, signer: OnceCell::new() }
    }

    /// Changes a password for a token.
    pub(crate) async fn log_in(
        &self,
        pool: &PgPool,
        login: (&str, Password),
        from: IpAddr,
        lifetime: Duration,
    ) -> Result<String, Refusal> {
        let signer = self.signer(pool).await?;
        let (sub, known) = self.right_user(pool, login, from).await?;
        let now = self.clock.now();
        let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
        let expires = now.checked_add_signed(lifetime).map_or(i64::MAX, |at| at.timestamp());
        Ok(signer.sign(&Claims { sub, iat: now.timestamp(), exp: expires, stamp: known.stamp }))
    }

    /// The user whose name and password these are. A wrong name and a wrong password look the same and take the same time.
    async fn right_user(
        &self,
        pool: &PgPool,
        (name, password): (&str, Password),
        from: IpAddr,
    ) -> Result<(String, Known), Refusal> {
        let now = self.clock.now();
        self.failures.begin(name, from, now).map_err(|retry_after| Refusal::TooManyLogins { retry_after })?;
        let user = users::read(pool, name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.hasher.matches(password, hash).await?;
        let Some(user) = user.filter(|_| right) else {
            tracing::warn!(user.name = %name.escape_debug(), client.ip = %from, "a login failed");
            return Err(Refusal::NotLoggedIn(WRONG_LOGIN));
        };
        self.failures.forget(name, from);
        let known = Known::of(&user)?;
        Ok((user.name, known))
    }

    /// Who sent these headers.
    pub(crate) async fn caller(&self, pool: &PgPool, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = bearer(headers).ok_or(Refusal::NotLoggedIn("Not authenticated"))?;
        let now = self.clock.now();
        let claims = self.signer(pool).await?.verify(token, now).map_err(|error| match error {
            TokenError::Expired => Refusal::NotLoggedIn("Token Expired"),
            TokenError::Invalid => Refusal::NotLoggedIn("Invalid JWT token"),
        })?;
        match self.users.get(pool, &claims.sub, now).await? {
            // Not a secret: whoever has a stamp has it out of a token that was signed.
            Some(known) if known.stamp == claims.stamp => Ok(Caller { name: claims.sub.into(), role: known.role }),
            _ => Err(Refusal::NotLoggedIn("Token was revoked")),
        }
    }

    async fn signer(&self, pool: &PgPool) -> Result<&Signer, Refusal> {
        self.signer.get_or_try_init(|| Signer::load(pool)).await
    }
}

/// The token of `Authorization: Bearer …`; nowhere else is one taken from, least of all from a URL.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
