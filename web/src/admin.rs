//! The first user, created when the server starts.

use crate::auth::{Password, Role, verify};
use crate::{WebError, WebResult};
use orch_store::user::{NewUser, add_user, get_user, has_admin};
use sqlx::PgConnection;

pub const ADMIN: &str = "admin";

const MOST_NAME_BYTES: usize = 100;

/// Outcome of [`ensure_admin`].
#[derive(Debug)]
pub enum Admin {
    /// The user existed before.
    Kept,
    /// The user existed before, and the configured password is not theirs.
    OtherPassword,
    /// The user was created with the configured password.
    Created,
    /// The user was created without a configured password: show this one to the user at the terminal, once.
    Generated(Password),
}

/// Creates the first user if it does not exist. A start never changes a password, because `configured` would undo a
/// change that the user made on the pages. Hashing takes about 20 ms of a CPU.
pub async fn ensure_admin(db: &mut PgConnection, configured: Option<&Password>) -> WebResult<Admin> {
    let (password, admin) = match (get_user(db, ADMIN).await?, configured) {
        (Some(_), None) => return Ok(Admin::Kept),
        (Some(user), Some(password)) => {
            let is_same = verified(password.clone(), user.password_hash).await?;
            return Ok(if is_same { Admin::Kept } else { Admin::OtherPassword });
        }
        (None, Some(password)) => (password.clone(), Admin::Created),
        (None, None) if has_admin(db).await? => return Ok(Admin::Kept),
        (None, None) => {
            let password = Password::random();
            (password.clone(), Admin::Generated(password))
        }
    };
    let hash = hash_password(password).await?;
    let new = NewUser { name: ADMIN, password_hash: &hash, role: Role::Admin.as_str(), ..NewUser::default() };
    // If several servers start together, the password of the first one counts.
    Ok(if add_user(db, &new).await?.is_none() { admin } else { Admin::Kept })
}

/// Returns the hash that is stored in `api_user`. Takes about 20 ms of a CPU.
pub async fn hash_password(password: Password) -> WebResult<String> {
    background(move || password.hash()).await
}

async fn verified(password: Password, hash: String) -> WebResult<bool> {
    background(move || Ok(verify(&password, &hash))).await
}

async fn background<T: Send + 'static>(work: impl FnOnce() -> WebResult<T> + Send + 'static) -> WebResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WebError::Hash(argon2::password_hash::Error::Crypto))?
}

/// Checks that a user name is safe in a log line, a URL and an email address.
pub fn check_user_name(name: &str) -> Result<(), &'static str> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@+-".contains(&byte);
    if !(1..=MOST_NAME_BYTES).contains(&name.len()) || !name.bytes().all(is_right) {
        return Err("a user name is up to 100 letters, digits and `_.@+-`");
    }
    // In a URL path, `.` and `..` refer to other paths.
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
