//! Users as authentication needs them. They are cached for a second, so that a busy caller costs one query per second.

use super::Role;
use super::found::Found;
use crate::refusal::Refusal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use orch_store::StoreError;
use orch_store::user::{UserRow, get_user};
use sha2::{Digest, Sha256};
use sqlx::PgPool;

#[derive(Debug, Default)]
pub(super) struct Users {
    seen: Found<String, ActiveUser>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActiveUser {
    pub(super) role: Role,
    /// Derived from the password hash and the generation, without revealing either of them.
    pub(super) stamp: String,
    pub(super) generation: i32,
}

impl ActiveUser {
    /// Returns `None` if the user is disabled.
    pub(super) fn of(user: &UserRow) -> Result<Option<ActiveUser>, Refusal> {
        let role = user.role.parse().map_err(|e| StoreError::corrupt(format!("user `{}`: {e}", user.name)))?;
        let stamp = stamp(&user.password_hash, user.generation);
        Ok((!user.is_disabled).then_some(ActiveUser { role, stamp, generation: user.generation }))
    }
}

/// Returns the value that binds sessions and tokens to a password and a generation. When either changes, they become
/// invalid.
pub(super) fn stamp(password_hash: &str, generation: i32) -> String {
    let mut hash = Sha256::new();
    hash.update(password_hash.as_bytes());
    hash.update(generation.to_be_bytes());
    BASE64.encode(&hash.finalize()[..12])
}

impl Users {
    /// Makes a change by this server apply immediately. Other servers apply it within a second.
    pub(super) fn forget(&self, name: &str) {
        self.seen.forget(name);
    }

    pub(super) async fn get(
        &self,
        pool: &PgPool,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<ActiveUser>, Refusal> {
        if let Some(user) = self.seen.fresh(name, now) {
            return Ok(Some(user));
        }
        let user = read(pool, name).await?.as_ref().map(ActiveUser::of).transpose()?.flatten();
        self.seen.keep(name.into(), now, user.clone());
        Ok(user)
    }
}

/// Reads a user. A name with a NUL character, which Postgres cannot store, matches no user.
pub(super) async fn read(pool: &PgPool, name: &str) -> Result<Option<UserRow>, Refusal> {
    let name = if name.contains('\0') { "" } else { name };
    let mut db = pool.acquire().await.map_err(StoreError::from)?;
    Ok(get_user(&mut db, name).await?)
}
