//! Requests about users.

use super::{Api, ListQuery};
use chrono::{DateTime, Utc};
use orch_binary::failure::Failure;
use orch_store::user::ListedUser;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct User {
    username: String,
    role: String,
    is_disabled: bool,
    full_name: String,
    email: String,
    logins: i64,
    api_tokens: i64,
    created_at: DateTime<Utc>,
}

fn user(value: &Value) -> Option<ListedUser> {
    let user = User::deserialize(value).ok()?;
    Some(ListedUser {
        name: user.username,
        full_name: user.full_name,
        email: user.email,
        role: user.role,
        is_disabled: user.is_disabled,
        created_at: user.created_at,
        sessions: user.logins,
        tokens: user.api_tokens,
    })
}

impl Api {
    /// Lists users, ordered by name.
    pub(crate) async fn users(&self) -> Result<Vec<ListedUser>, Failure> {
        self.pages_extra("users", "users", &ListQuery::all(), user).await
    }
}
