//! `/users/{user_name}`: one user, with everything that an admin can change.

use super::{FreshPassword, user_href};
use crate::auth::Role;
use crate::extract::Names;
use crate::pages::{Shell, encoded, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::list::Search;
use orch_store::user::{ListedUser, USERS, by};

#[derive(Template)]
#[template(path = "pages/users/user.html")]
pub(super) struct UserPage {
    shell: Shell,
    name: String,
    href: String,
    /// Address of the user's actions in the audit log.
    deeds_href: String,
    full_name: String,
    email: String,
    role: Role,
    is_disabled: bool,
    is_self: bool,
    logins: i64,
    tokens: i64,
    created: parts::Ago,
    problem: Option<String>,
    fresh: Option<FreshPassword>,
}

/// Result of a change, shown on the page.
pub(super) enum UserNotice {
    Fresh(FreshPassword),
    Problem(StatusCode, String),
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    page(&app, shell, names.get("user_name"), None).await
}

pub(super) async fn page(app: &App, shell: Shell, name: &str, ended: Option<UserNotice>) -> Result<Response, Refusal> {
    let user = find(app, name).await?;
    let role = user.role.parse().map_err(|error| Refusal::Broken(format!("user `{}`: {error}", user.name)))?;
    let is_self = shell.user.as_ref().is_some_and(|own| *own.name == *user.name);
    let (status, problem, fresh) = match ended {
        None => (StatusCode::OK, None, None),
        Some(UserNotice::Fresh(fresh)) => (StatusCode::OK, None, Some(fresh)),
        Some(UserNotice::Problem(status, words)) => (status, Some(words), None),
    };
    let page = UserPage {
        href: user_href(&user.name),
        deeds_href: format!("/audit?who={}", encoded(&user.name)),
        full_name: user.full_name,
        email: user.email,
        role,
        is_disabled: user.is_disabled,
        is_self,
        logins: user.sessions,
        tokens: user.tokens,
        created: parts::ago(user.created_at, shell.now),
        name: user.name,
        shell,
        problem,
        fresh,
    };
    html(status, &page)
}

pub(super) async fn find(app: &App, name: &str) -> Result<ListedUser, Refusal> {
    let search = Search::default().and(by::NAME.is(name));
    USERS.first(&mut *app.pages().await?, &search).await?.ok_or_else(|| no_such_user(name))
}

pub(super) fn no_such_user(name: &str) -> Refusal {
    Refusal::not_found(format!("There is no user `{name}`."))
}
