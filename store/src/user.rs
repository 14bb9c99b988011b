//! User accounts that may log in. The database contains only password hashes, which the web crate creates and verifies.
//!
//! At least one enabled admin always exists: a change that would remove the last one is rejected. If a change ends a
//! user's sessions and tokens, they end in the same transaction.

mod list;
mod role;

pub use list::{ListedUser, USERS, by};
pub use role::Role;

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone)]
pub struct UserRow {
    pub name: String,
    pub password_hash: String,
    /// Role of the user: `viewer`, `user`, `op` or `admin`.
    pub role: String,
    pub is_disabled: bool,
    /// Incremented whenever all sessions and tokens of the user are revoked.
    pub generation: i32,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Default)]
pub struct NewUser<'a> {
    pub name: &'a str,
    pub password_hash: &'a str,
    pub role: &'a str,
    pub full_name: &'a str,
    pub email: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserChange {
    Done,
    /// The user already had the requested state, so nothing was changed.
    Unchanged,
    NoSuchUser,
    /// The change was rejected, because no enabled admin would remain.
    LastAdmin,
}

const ADMIN: &str = "admin";

/// Returns the user with this name, ignoring case. Older versions allowed names that differ only in case; if several
/// users match, the exact match is returned, otherwise the oldest user.
#[boxed]
pub async fn get_user(db: &mut PgConnection, name: &str) -> StoreResult<Option<UserRow>> {
    let row = sqlx::query_as!(
        UserRow,
        r#"select name, password_hash, role, is_disabled, generation, created_at from api_user
        where lower(name collate "C") = lower($1::text collate "C")
        order by name <> $1, created_at, name limit 1"#,
        name
    );
    Ok(row.fetch_optional(db).await?)
}

/// Returns true if at least one enabled admin exists.
#[boxed]
pub async fn has_admin(db: &mut PgConnection) -> StoreResult<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select from api_user where role = 'admin' and not is_disabled) as "is!""#
    );
    Ok(found.fetch_one(db).await?)
}

/// Creates a user. Returns `None` on success. If a user with this name in any case exists, creates nothing and returns
/// that user's name.
#[boxed]
pub async fn add_user(db: &mut PgConnection, new: &NewUser<'_>) -> StoreResult<Option<String>> {
    // The unique index does not cover names from older versions that differ only in case, so the query checks for such
    // names too.
    let done = sqlx::query!(
        r#"insert into api_user (name, password_hash, role, full_name, email)
        select $1::text, $2::text, $3::text, $4::text, $5::text
        where not exists (select from api_user where lower(name collate "C") = lower($1::text collate "C"))
        on conflict do nothing"#,
        new.name,
        new.password_hash,
        new.role,
        new.full_name,
        new.email
    );
    if done.execute(&mut *db).await?.rows_affected() == 1 {
        return Ok(None);
    }
    let existing = get_user(db, new.name).await?;
    Ok(Some(existing.map_or_else(|| new.name.to_owned(), |user| user.name)))
}

/// Changes the role of a user. The new role applies immediately, also in sessions that are already open.
#[boxed]
pub async fn set_role(db: &mut PgConnection, name: &str, role: &str) -> StoreResult<UserChange> {
    let mut tx = db.begin().await?;
    let outcome = match lock_user(&mut tx, name).await? {
        LockedUser { user: None, .. } => UserChange::NoSuchUser,
        LockedUser { user: Some(user), .. } if user.role == role => UserChange::Unchanged,
        LockedUser { is_last_admin: true, .. } => UserChange::LastAdmin,
        LockedUser { .. } => {
            sqlx::query!("update api_user set role = $2 where name = $1", name, role).execute(&mut *tx).await?;
            UserChange::Done
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

/// Disables or enables a user. A disabled user cannot log in, and the user's sessions and tokens are revoked. Enabling
/// the user again does not restore them.
#[boxed]
pub async fn set_disabled(db: &mut PgConnection, name: &str, is_disabled: bool) -> StoreResult<UserChange> {
    let mut tx = db.begin().await?;
    let outcome = match lock_user(&mut tx, name).await? {
        LockedUser { user: None, .. } => UserChange::NoSuchUser,
        LockedUser { user: Some(user), .. } if user.is_disabled == is_disabled => UserChange::Unchanged,
        LockedUser { is_last_admin: true, .. } if is_disabled => UserChange::LastAdmin,
        LockedUser { .. } => {
            sqlx::query!("update api_user set is_disabled = $2 where name = $1", name, is_disabled)
                .execute(&mut *tx)
                .await?;
            end_all(&mut tx, name).await?;
            UserChange::Done
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

/// Sets a user's password at the request of someone else, such as an admin. Revokes all sessions and tokens of the
/// user.
#[boxed]
pub async fn reset_password(db: &mut PgConnection, name: &str, password_hash: &str) -> StoreResult<UserChange> {
    let mut tx = db.begin().await?;
    let done = sqlx::query!("update api_user set password_hash = $2 where name = $1", name, password_hash);
    if done.execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(UserChange::NoSuchUser);
    }
    end_all(&mut tx, name).await?;
    tx.commit().await?;
    Ok(UserChange::Done)
}

/// Changes a password at the request of its owner, who has entered the old password. Revokes all sessions of the user
/// except the current one; tokens stay valid. `kept` is the token hash of the current session and `stamp` its new
/// stamp. Returns `false` if the password was changed concurrently.
#[boxed]
pub async fn change_password(
    db: &mut PgConnection,
    name: &str,
    (old_hash, new_hash): (&str, &str),
    (kept, stamp): (&[u8], &str),
) -> StoreResult<bool> {
    let mut tx = db.begin().await?;
    let done = sqlx::query!(
        "update api_user set password_hash = $3 where name = $1 and password_hash = $2 and not is_disabled",
        name,
        old_hash,
        new_hash
    );
    if done.execute(&mut *tx).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!("delete from web_session where user_name = $1 and token_hash <> $2", name, kept)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("update web_session set stamp = $2 where token_hash = $1", kept, stamp).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Deletes a user with all sessions and tokens. Audit log entries about the user's actions are kept.
#[boxed]
pub async fn delete_user(db: &mut PgConnection, name: &str) -> StoreResult<UserChange> {
    let mut tx = db.begin().await?;
    let outcome = match lock_user(&mut tx, name).await? {
        LockedUser { user: None, .. } => UserChange::NoSuchUser,
        LockedUser { is_last_admin: true, .. } => UserChange::LastAdmin,
        LockedUser { .. } => {
            sqlx::query!("delete from api_user where name = $1", name).execute(&mut *tx).await?;
            UserChange::Done
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

struct LockedUser {
    user: Option<UserRow>,
    is_last_admin: bool,
}

/// Locks the rows of the user and of all admins. If two concurrent changes would remove the last two admins, the second
/// transaction waits for the first and is then rejected.
async fn lock_user(db: &mut PgConnection, name: &str) -> StoreResult<LockedUser> {
    let rows = sqlx::query_as!(
        UserRow,
        "select name, password_hash, role, is_disabled, generation, created_at from api_user
        where name = $1 or role = $2 order by name for update",
        name,
        ADMIN
    );
    let rows = rows.fetch_all(db).await?;
    let can_manage = |user: &UserRow| user.role == ADMIN && !user.is_disabled;
    let others = rows.iter().any(|user| user.name != name && can_manage(user));
    let user = rows.into_iter().find(|user| user.name == name);
    Ok(LockedUser { is_last_admin: !others && user.as_ref().is_some_and(can_manage), user })
}

/// Revokes all sessions and tokens of a user. Incrementing the generation also invalidates sessions and tokens that are
/// being created concurrently.
async fn end_all(db: &mut PgConnection, name: &str) -> StoreResult<()> {
    sqlx::query!("update api_user set generation = generation + 1 where name = $1", name).execute(&mut *db).await?;
    sqlx::query!("delete from web_session where user_name = $1", name).execute(&mut *db).await?;
    sqlx::query!("delete from api_token where user_name = $1", name).execute(&mut *db).await?;
    Ok(())
}
