//! What admins do to a user: another role, a new password, disabled or enabled, deleted. Each is written down in the
//! transaction that does it, and is seen by this server at once, by the others within a second.

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
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::user::{UserChange, delete_user, reset_password, set_disabled, set_role};
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::PgConnection;

pub(crate) async fn role(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("user_name");
    let role: Role = form.text("role").unwrap_or_default().parse().map_err(Refusal::bad_request)?;
    let extra = json!({ "user": name, "role": role.as_str() });
    change(&app, &actor, shell, ("set_role", extra), async |db| set_role(db, name, role.as_str()).await).await
}

pub(crate) async fn disabled(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let name = names.get("user_name");
    let (is_disabled, event) = match form.text("disabled") {
        Some("true") => (true, "disable_user"),
        Some("false") => (false, "enable_user"),
        _ => return Err(Refusal::bad_request("`disabled` is `true` or `false`")),
    };
    let deed = (event, json!({ "user": name }));
    change(&app, &actor, shell, deed, async |db| set_disabled(db, name, is_disabled).await).await
}

/// Without a password one is made up and shown once.
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
    let deed = ("reset_password", json!({ "user": name }));
    let changed = carry_out(&app, &actor, deed, async |db| reset_password(db, name, &hash).await).await?;
    if changed == UserChange::Done && is_made_up {
        let fresh = UserNotice::Fresh(FreshPassword { user: name.into(), password });
        return page(&app, shell, name, Some(fresh)).await;
    }
    told(&app, shell, name, changed).await
}

/// `GET …/delete`: what will happen.
pub(crate) async fn ask_delete(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let user = find(&app, &shell, names.get("user_name")).await?;
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
    let deed = ("delete_user", json!({ "user": name }));
    match carry_out(&app, &actor, deed, async |db| delete_user(db, name).await).await? {
        UserChange::Done => Ok(see_other("/users")),
        other => told(&app, shell, name, other).await,
    }
}

/// The change and its line in the audit log: both or neither.
/// Carries out a change, and says how it ended on the user's page.
async fn change(
    app: &App,
    actor: &Actor,
    shell: Shell,
    deed: (&str, Value),
    change: impl AsyncFnOnce(&mut PgConnection) -> orch_store::StoreResult<UserChange>,
) -> Result<Response, Refusal> {
    let name = deed.1["user"].as_str().unwrap_or_default().to_string();
    let changed = carry_out(app, actor, deed, change).await?;
    told(app, shell, &name, changed).await
}

async fn carry_out(
    app: &App,
    actor: &Actor,
    (event, extra): (&str, Value),
    change: impl AsyncFnOnce(&mut PgConnection) -> orch_store::StoreResult<UserChange>,
) -> Result<UserChange, Refusal> {
    let name = extra["user"].as_str().unwrap_or_default().to_string();
    let mut db = app.hot().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let changed = change(&mut tx).await?;
    if changed == UserChange::Done {
        actor.did(&mut tx, Deed { event, extra: Some(extra), ..Deed::default() }).await?;
        tx.commit().await.map_err(StoreError::from)?;
        app.auth.changed(&name);
    }
    Ok(changed)
}

async fn told(app: &App, shell: Shell, name: &str, changed: UserChange) -> Result<Response, Refusal> {
    match changed {
        UserChange::Done | UserChange::Unchanged => Ok(see_other(&user_href(name))),
        UserChange::NoSuchUser => Err(no_such_user(name)),
        UserChange::LastAdmin => {
            let words = format!("`{name}` is the last admin who can log in: make another user an admin first.");
            page(app, shell, name, Some(UserNotice::Problem(StatusCode::CONFLICT, words))).await
        }
    }
}
