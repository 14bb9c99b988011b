//! `/users`: user administration for admins: a list, a form that adds a user, and a page for each user.

pub(crate) mod change;
pub(crate) mod user;

use super::filters::Filters;
use super::kept::{Listed, listed_by};
use super::{Shell, encoded, html};
use crate::auth::{Password, Role};
use crate::check_user_name;
use crate::extract::{Actor, Form, Query};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::user::create;
use orch_store::StoreError;
use orch_store::list::Search;
use orch_store::user::{ListedUser, NewUser, USERS, by};
use sqlx::Connection;

#[derive(Template)]
#[template(path = "pages/users.html")]
struct UsersPage {
    shell: Shell,
    q: String,
    filters: Filters,
    lines: Vec<ListedAccount>,
    total: i64,
    before: Option<String>,
    after: Option<String>,
    /// Values of the form for a new user.
    wish: NewUserForm,
    problem: Option<String>,
    fresh: Option<FreshPassword>,
}

struct ListedAccount {
    name: String,
    href: String,
    about: String,
    role: Role,
    is_disabled: bool,
    is_self: bool,
    logins: i64,
    tokens: i64,
    created: parts::Ago,
}

struct NewUserForm {
    name: String,
    full_name: String,
    email: String,
    role: Role,
}

/// A generated password, which the page shows once.
pub(crate) struct FreshPassword {
    pub(crate) user: String,
    pub(crate) password: Password,
}

const LIST: &str = "/users";

/// Returns the address of a user's page.
pub(crate) fn user_href(name: &str) -> String {
    format!("/users/{}", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let wish = NewUserForm { name: String::new(), full_name: String::new(), email: String::new(), role: Role::Viewer };
    list(&app, shell, query, wish, None).await
}

/// Renders the list. `ended` is the result of adding a user.
async fn list(
    app: &App,
    shell: Shell,
    query: Query,
    wish: NewUserForm,
    ended: Option<Result<FreshPassword, (StatusCode, String)>>,
) -> Result<Response, Refusal> {
    let find = async |search: Search| USERS.find(&mut *app.pages().await?, &search).await;
    let Listed { q, filters, rows, total, before, after } =
        listed_by((query, shell.now), (LIST, USERS.columns), by::WORDS, find).await?;
    let own = shell.user.as_ref().map(|user| user.name.clone());
    let lines = rows.into_iter().map(|user| line(user, own.as_deref(), &shell));
    let lines = lines.collect::<Result<_, _>>()?;
    let (status, problem, fresh) = match ended {
        None => (StatusCode::OK, None, None),
        Some(Ok(fresh)) => (StatusCode::OK, None, Some(fresh)),
        Some(Err((status, problem))) => (status, Some(problem), None),
    };
    html(status, &UsersPage { shell, q, filters, lines, total, before, after, wish, problem, fresh })
}

fn line(user: ListedUser, own: Option<&str>, shell: &Shell) -> Result<ListedAccount, Refusal> {
    let role = user.role.parse().map_err(|error| Refusal::Broken(format!("user `{}`: {error}", user.name)))?;
    let about = [user.full_name, user.email].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
    Ok(ListedAccount {
        href: user_href(&user.name),
        about: about.join(" · "),
        role,
        is_disabled: user.is_disabled,
        is_self: own == Some(user.name.as_str()),
        logins: user.sessions,
        tokens: user.tokens,
        created: parts::ago(user.created_at, shell.now),
        name: user.name,
    })
}

/// `POST /users`: adds a user. If no password is given, a random password is generated and shown once.
pub(crate) async fn add(State(app): State<App>, actor: Actor, shell: Shell, form: Form) -> Result<Response, Refusal> {
    let text = |name| form.text(name).unwrap_or_default().trim().to_string();
    let role: Role = text("role").parse().map_err(Refusal::bad_request)?;
    let wish = NewUserForm { name: text("username"), full_name: text("full_name"), email: text("email"), role };
    let refused = |wish, words: &str| (wish, Some(Err((StatusCode::UNPROCESSABLE_ENTITY, format!("{words}.")))));
    let (wish, ended) = match chosen_password(&form, &wish.name) {
        _ if let Err(words) = check_user_name(&wish.name) => refused(wish, words),
        _ if wish.full_name.len() > 250 || wish.email.len() > 250 => refused(wish, "names have at most 250 bytes"),
        Err(words) => refused(wish, words),
        Ok((password, is_made_up)) => {
            let password_hash = app.auth.hash(password.clone()).await?;
            let new = NewUser {
                name: &wish.name,
                password_hash: &password_hash,
                role: role.as_str(),
                full_name: &wish.full_name,
                email: &wish.email,
            };
            let mut db = app.hot().await?;
            let mut tx = db.begin().await.map_err(StoreError::from)?;
            if let Some(existing) = create(&mut tx, &actor, &new).await? {
                drop(tx);
                let words = format!("There is a user `{existing}` already. User names are unique regardless of case.");
                (wish, Some(Err((StatusCode::CONFLICT, words))))
            } else {
                tx.commit().await.map_err(StoreError::from)?;
                app.auth.changed(&wish.name);
                if !is_made_up {
                    return Ok(super::see_other("/users"));
                }
                let fresh = FreshPassword { user: wish.name, password };
                let wish = NewUserForm { name: String::new(), full_name: String::new(), email: String::new(), role };
                (wish, Some(Ok(fresh)))
            }
        }
    };
    list(&app, shell, Query::parse(""), wish, ended).await
}

/// Returns the password, and true if it was generated because the form contains none.
fn chosen_password(form: &Form, user: &str) -> Result<(Password, bool), &'static str> {
    match form.text("password").unwrap_or_default() {
        "" => Ok((Password::random(), true)),
        text => {
            let password = Password::new(text);
            password.check(user).map(|()| (password, false))
        }
    }
}
