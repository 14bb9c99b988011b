//! The first user: there is always somebody who can log in.

use crate::auth::{Password, Role, verify};
use crate::{WebError, WebResult};
use orch_store::user::{NewUser, add_user, get_user, has_admin, set_user};
use sqlx::PgConnection;

/// The name of the first user.
pub const ADMIN: &str = "admin";

const MOST_NAME_BYTES: usize = 100;

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
            set_user(db, ADMIN, &hash_password(password.clone()).await?, Role::Admin.as_str()).await?;
            Ok(Admin::Changed)
        }
        // Somebody goes by another name.
        (None, None) if has_admin(db).await? => Ok(Admin::Kept),
        (None, None) => {
            let password = Password::random();
            let hash = hash_password(password.clone()).await?;
            let new = NewUser { name: ADMIN, password_hash: &hash, role: Role::Admin.as_str(), ..NewUser::default() };
            let added = add_user(db, &new).await?.is_none();
            // Of several servers that start together, the first one's password counts.
            Ok(if added { Admin::Generated(password) } else { Admin::Kept })
        }
    }
}

/// As `api_user` keeps a password. Takes some 20 ms of a core.
pub async fn hash_password(password: Password) -> WebResult<String> {
    background(move || password.hash()).await
}

async fn verified(password: Password, hash: String) -> WebResult<bool> {
    background(move || Ok(verify(&password, &hash))).await
}

async fn background<T: Send + 'static>(work: impl FnOnce() -> WebResult<T> + Send + 'static) -> WebResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WebError::Hash(argon2::password_hash::Error::Crypto))?
}

/// What a user may be called: what fits in a log line, a URL and an address of mail.
pub fn check_user_name(name: &str) -> Result<(), &'static str> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@+-".contains(&byte);
    if !(1..=MOST_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_right) {
        return Err("a user name is up to 100 letters, digits and `_.@+-`");
    }
    // In a path `.` and `..` are other places.
    if name.bytes().all(|byte| byte == b'.') { Err("a user name is not only dots") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_called_what_a_page_can_be_called() {
        for name in ["ada", "ada.lovelace@example.org", "a+b-c_d", ".a"] {
            assert_eq!(check_user_name(name), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a b", "a\n", "a\0", "ä", "%2e%2e", "a?b"] {
            assert!(check_user_name(name).is_err(), "{name:?}");
        }
        assert!(check_user_name(&"a".repeat(101)).is_err());
    }
}
