//! Changes of users to their own account: password, logins and API tokens.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::session::close_others;
use orch_store::token::{self, AddToken, NewToken};
use orch_store::user;
use serde_json::json;
use sqlx::PgConnection;

#[derive(Debug, Clone, Copy)]
pub struct PasswordChange<'a> {
    pub old_hash: &'a str,
    pub new_hash: &'a str,
    /// The login that stays valid: token hash and stamp.
    pub kept_login: (&'a [u8], &'a str),
    pub revokes_tokens: bool,
}

/// Returns `false` if the password was changed in the meantime, so that `old_hash` no longer matches.
#[boxed]
pub async fn change_password(tx: &mut PgConnection, actor: &Actor, change: &PasswordChange<'_>) -> StoreResult<bool> {
    let PasswordChange { old_hash, new_hash, kept_login, revokes_tokens } = *change;
    if !user::change_password(tx, &actor.name, (old_hash, new_hash), kept_login).await? {
        return Ok(false);
    }
    let mut revoked = 0;
    if revokes_tokens {
        for token in token::list_tokens(tx, &actor.name).await? {
            revoked += u32::from(token::revoke_token(tx, &actor.name, token.id).await?.is_some());
        }
    }
    let extra = (revoked > 0).then(|| json!({ "revoked_tokens": revoked }));
    actor.did(tx, Deed { event: "change_password", extra, ..Deed::default() }).await?;
    Ok(true)
}

/// Ends the login `id`, or all logins except the one with the token hash `kept`.
#[boxed]
pub async fn end_logins(tx: &mut PgConnection, actor: &Actor, id: Option<i64>, kept: &[u8]) -> StoreResult<()> {
    let count = close_others(tx, &actor.name, id, kept).await?;
    if count > 0 {
        let extra = Some(json!({ "count": count }));
        actor.did(tx, Deed { event: "end_logins", extra, ..Deed::default() }).await?;
    }
    Ok(())
}

#[boxed]
pub async fn create_token(tx: &mut PgConnection, actor: &Actor, new: &NewToken<'_>) -> StoreResult<AddToken> {
    let added = token::add_token(tx, new).await?;
    if added == AddToken::Added {
        let mut extra = json!({ "token": new.name, "scope": new.scope.as_str(), "expires_at": new.expires_at });
        // A command creates tokens for other users.
        if *new.user != *actor.name {
            extra["user"] = json!(new.user);
        }
        actor.did(tx, Deed { event: "create_token", extra: Some(extra), ..Deed::default() }).await?;
    }
    Ok(added)
}

/// Returns the name of the revoked token, or `None` if the user has no token with this id.
#[boxed]
pub async fn revoke_token(tx: &mut PgConnection, actor: &Actor, user: &str, id: i64) -> StoreResult<Option<String>> {
    let Some((token, _)) = token::revoke_token(tx, user, id).await? else { return Ok(None) };
    let mut extra = json!({ "token": token });
    // A command revokes tokens of other users.
    if *user != *actor.name {
        extra["user"] = json!(user);
    }
    actor.did(tx, Deed { event: "revoke_token", extra: Some(extra), ..Deed::default() }).await?;
    Ok(Some(token))
}
