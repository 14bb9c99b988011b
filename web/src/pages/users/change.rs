//! User administration: change the role, reset the password, disable, enable, delete. Each change is audited in its
//! transaction. It takes effect immediately on this server, and within a second on others.

use super::user::{UserNotice, find, no_such_user, page};
use super::{FreshPassword, chosen_password, user_href};
use crate::auth::Role;
use crate::extract::{Actor, Form, Names};
use crate::pages::delete::DeletePage;
use crate::pages::{Shell, html, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::user::{self, UserDeed};
use orch_store::StoreError;
use orch_store::user::UserChange;
use sqlx::Connection;

pub(crate) async fn role(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("user_name");
    let role: Role = form.text("role").unwrap_or_default().parse().map_err(Refusal::bad_request)?;
    change(&app, &actor, shell, name, UserDeed::SetRole(role.as_str())).await
}

pub(crate) async fn disabled(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("user_name");
    let deed = match form.text("disabled") {
        Some("true") => UserDeed::Disable,
        Some("false") => UserDeed::Enable,
        _ => return Err(Refusal::bad_request("`disabled` is `true` or `false`")),
    };
    change(&app, &actor, shell, name, deed).await
}

/// Resets the password. If none is given, a random password is generated and shown once.
pub(crate) async fn password(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("user_name");
    let (password, is_made_up) = match chosen_password(&form, name) {
        Ok(chosen) => chosen,
        Err(words) => {
            let problem = UserNotice::Problem(StatusCode::UNPROCESSABLE_ENTITY, format!("{words}."));
            return page(&app, shell, name, Some(problem)).await;
        }
    };
    let hash = app.auth.hash(password.clone()).await?;
    let changed = carry_out(&app, &actor, name, UserDeed::ResetPassword { password_hash: &hash }).await?;
    if changed == UserChange::Done && is_made_up {
        let fresh = UserNotice::Fresh(FreshPassword { user: name.into(), password });
        return page(&app, shell, name, Some(fresh)).await;
    }
    respond_to_change(&app, shell, name, changed).await
}

/// `GET …/delete`: asks for confirmation.
pub(crate) async fn ask_delete(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let user = find(&app, names.get("user_name")).await?;
    let count = |n: i64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    let sentence = format!(
        "{} cannot log in any more: {} and {} end at once. Runs, notes and the audit log keep the name.",
        user.name,
        count(user.sessions, "login"),
        count(user.tokens, "API token")
    );
    let back = user_href(&user.name);
    let action = format!("{back}/delete");
    let page = DeletePage { shell, list: ("/users", "Users"), name: user.name, sentence, action, field: None, back };
    html(StatusCode::OK, &page)
}

pub(crate) async fn delete(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    _: Form,
) -> Result<Response, Refusal> {
    let name = names.get("user_name");
    match carry_out(&app, &actor, name, UserDeed::Delete).await? {
        UserChange::Done => Ok(see_other("/users")),
        other => respond_to_change(&app, shell, name, other).await,
    }
}

/// Carries out a change and shows the result on the user's page.
async fn change(app: &App, actor: &Actor, shell: Shell, name: &str, deed: UserDeed<'_>) -> Result<Response, Refusal> {
    let changed = carry_out(app, actor, name, deed).await?;
    respond_to_change(app, shell, name, changed).await
}

async fn carry_out(app: &App, actor: &Actor, name: &str, deed: UserDeed<'_>) -> Result<UserChange, Refusal> {
    let mut db = app.hot().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let changed = user::change(&mut tx, actor, name, &deed).await?;
    if changed == UserChange::Done {
        tx.commit().await.map_err(StoreError::from)?;
        app.auth.changed(name);
    }
    Ok(changed)
}

async fn respond_to_change(app: &App, shell: Shell, name: &str, changed: UserChange) -> Result<Response, Refusal> {
    match changed {
        UserChange::Done | UserChange::Unchanged => Ok(see_other(&user_href(name))),
        UserChange::NoSuchUser => Err(no_such_user(name)),
        UserChange::LastAdmin => {
            let words = format!("`{name}` is the last admin who can log in: make another user an admin first.");
            page(app, shell, name, Some(UserNotice::Problem(StatusCode::CONFLICT, words))).await
        }
    }
}
