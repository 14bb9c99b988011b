//! The first user: there is always somebody who can log in.

use crate::auth::{Password, Role, verify};
use crate::{WebError, WebResult};
use orch_store::user::{add_user, get_user, set_user};
use sqlx::PgConnection;

/// The name of the first user.
pub const ADMIN: &str = "admin";

/// What became of the first user's password.
#[derive(Debug)]
pub enum Admin {
    /// It is what it was.
    Kept,
    /// It is now the one that was wished for; tokens of the old one are dead.
    Changed,
    /// Nobody wished for one: show this to the person at the terminal, once.
    Generated(Password),
}

/// Makes sure that the first user exists, with the password that was wished for if one was. Called by whoever starts a
/// web server, after the schema is there. Hashes, so it takes some 20 ms of a core.
pub async fn ensure_admin(db: &mut PgConnection, wished: Option<&Password>) -> WebResult<Admin> {
    let user = get_user(db, ADMIN).await?;
    match (user, wished) {
        (Some(_), None) => Ok(Admin::Kept),
        (Some(user), Some(password)) if verified(password.clone(), user.password_hash.clone()).await? => {
            Ok(Admin::Kept)
        }
        (_, Some(password)) => {
            set_user(db, ADMIN, &hashed(password.clone()).await?, Role::Admin.as_str()).await?;
            Ok(Admin::Changed)
        }
        (None, None) => {
            let password = Password::random();
            let added = add_user(db, ADMIN, &hashed(password.clone()).await?, Role::Admin.as_str()).await?;
            // Of several servers that start together, the first one's password counts.
            Ok(if added { Admin::Generated(password) } else { Admin::Kept })
        }
    }
}

async fn hashed(password: Password) -> WebResult<String> {
    background(move || password.hash()).await
}

async fn verified(password: Password, hash: String) -> WebResult<bool> {
    background(move || Ok(verify(&password, &hash))).await
}

async fn background<T: Send + 'static>(work: impl FnOnce() -> WebResult<T> + Send + 'static) -> WebResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WebError::Hash(argon2::password_hash::Error::Crypto))?
}
