//! Users: who may log in, and with which role. Used by pages and commands.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::user::{self, NewUser, UserChange};
use serde_json::json;
use sqlx::PgConnection;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserDeed<'a> {
    SetRole(&'a str),
    Disable,
    Enable,
    /// Also ends all logins and revokes all API tokens.
    ResetPassword {
        password_hash: &'a str,
    },
    Delete,
}

impl UserDeed<'_> {
    fn event(&self) -> &'static str {
        match self {
            UserDeed::SetRole(_) => "set_role",
            UserDeed::Disable => "disable_user",
            UserDeed::Enable => "enable_user",
            UserDeed::ResetPassword { .. } => "reset_password",
            UserDeed::Delete => "delete_user",
        }
    }
}

/// Creates a user. Returns the name of the existing user if the name is taken, ignoring case; `None` if the user was
/// created.
#[boxed]
pub async fn create(tx: &mut PgConnection, actor: &Actor, new: &NewUser<'_>) -> StoreResult<Option<String>> {
    let existing = user::add_user(tx, new).await?;
    if existing.is_none() {
        let extra = Some(json!({ "user": new.name, "role": new.role }));
        actor.did(tx, Deed { event: "create_user", extra, ..Deed::default() }).await?;
    }
    Ok(existing)
}

#[boxed]
pub async fn change(tx: &mut PgConnection, actor: &Actor, name: &str, deed: &UserDeed<'_>) -> StoreResult<UserChange> {
    let changed = match *deed {
        UserDeed::SetRole(role) => user::set_role(tx, name, role).await?,
        UserDeed::Disable => user::set_disabled(tx, name, true).await?,
        UserDeed::Enable => user::set_disabled(tx, name, false).await?,
        UserDeed::ResetPassword { password_hash } => user::reset_password(tx, name, password_hash).await?,
        UserDeed::Delete => user::delete_user(tx, name).await?,
    };
    if changed == UserChange::Done {
        let mut extra = json!({ "user": name });
        if let UserDeed::SetRole(role) = *deed {
            extra["role"] = role.into();
        }
        actor.did(tx, Deed { event: deed.event(), extra: Some(extra), ..Deed::default() }).await?;
    }
    Ok(changed)
}
