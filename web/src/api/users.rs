//! `/api/orch/v1/users`: the users who may log in, without any password data.

use super::list::asked;
use crate::extract::Query;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::list::ListPage;
use orch_store::user::{ListedUser, USERS};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UserPage {
    users: Vec<UserView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UserView {
    username: String,
    /// `viewer`, `user`, `op` or `admin`.
    role: String,
    is_disabled: bool,
    full_name: String,
    email: String,
    /// Number of logins that have not ended, of browsers and programs.
    logins: i64,
    /// Number of API tokens that are valid.
    api_tokens: i64,
    created_at: Timestamp,
}

impl From<ListedUser> for UserView {
    fn from(user: ListedUser) -> UserView {
        UserView {
            username: user.name,
            role: user.role,
            is_disabled: user.is_disabled,
            full_name: user.full_name,
            email: user.email,
            logins: user.sessions,
            api_tokens: user.tokens,
            created_at: Timestamp(user.created_at),
        }
    }
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<UserPage>, Refusal> {
    let search = asked(&mut query, USERS.columns)?;
    let ListPage { rows, total: total_entries } = USERS.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(UserPage { users: rows.into_iter().map(UserView::from).collect(), total_entries }))
}
