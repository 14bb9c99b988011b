//! Changes to the user's own account. A new password requires the old one; a token is shown only once.

use super::{AccountNotices, LIFETIMES, page};
use crate::auth::{FreshToken, Password, Session, is_wrong_login};
use crate::extract::path_numbers::{LOGIN_ID, TOKEN_ID};
use crate::extract::{Actor, Form, Names, Peer};
use crate::pages::{Shell, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use orch_deeds::account::{self, PasswordChange};
use orch_store::StoreError;
use orch_store::token::{AddToken, MOST_TOKENS, NewToken, TokenScope};
use sqlx::Connection;

const MOST_NAME_CHARS: usize = 100;

pub(crate) async fn password(
    State(app): State<App>,
    Extension(session): Extension<Session>,
    Peer(from): Peer,
    actor: Actor,
    shell: Shell,
    form: Form,
) -> Result<Response, Refusal> {
    let text = |name| form.text(name).unwrap_or_default();
    let name = session.caller.name.clone();
    let (old, new) = (Password::new(text("old")), Password::new(text("new")));
    let refused = async |status, words: String| {
        let ended = AccountNotices { password: Some(words), ..AccountNotices::default() };
        page(&app, shell.clone(), &session, status, (ended, "")).await
    };
    if text("new") != text("again") {
        let words = "The new passwords differ: type the same one twice.".to_string();
        return refused(StatusCode::UNPROCESSABLE_ENTITY, words).await;
    }
    if let Err(words) = new.check(&name) {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, format!("{words}.")).await;
    }
    let new_hash = app.auth.hash(new).await?;
    let (old_hash, stamp) = match app.auth.confirm(&app.hot, (&name, old), from, &new_hash).await {
        Ok(confirmed) => confirmed,
        Err(refusal) if is_wrong_login(&refusal) => {
            return refused(StatusCode::UNPROCESSABLE_ENTITY, "The old password is another one.".into()).await;
        }
        Err(refusal @ Refusal::TooManyLogins { .. }) => {
            let words = format!("{}.", refusal.words());
            let mut answer = refused(StatusCode::TOO_MANY_REQUESTS, words).await?;
            answer.headers_mut().extend(
                refusal
                    .into_response()
                    .headers()
                    .get("retry-after")
                    .cloned()
                    .map(|after| (axum::http::header::RETRY_AFTER, after)),
            );
            return Ok(answer);
        }
        Err(refusal) => return Err(refusal),
    };
    let mut db = app.hot().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let change = PasswordChange {
        old_hash: &old_hash,
        new_hash: &new_hash,
        kept_login: (session.hash.as_slice(), stamp.as_str()),
        revokes_tokens: form.text("revoke_tokens").is_some(),
    };
    if !account::change_password(&mut tx, &actor, &change).await? {
        return refused(StatusCode::CONFLICT, "The password was changed a moment ago: log in with the new one.".into())
            .await;
    }
    tx.commit().await.map_err(StoreError::from)?;
    drop(db);
    app.auth.changed(&name);
    let ended = AccountNotices { password_is_new: true, ..AccountNotices::default() };
    page(&app, shell.clone(), &session, StatusCode::OK, (ended, "")).await
}

/// `POST /account/logins/{login_id}/end`: ends one login, or with the id `others` all logins except the current one.
pub(crate) async fn end_login(
    State(app): State<App>,
    Extension(session): Extension<Session>,
    actor: Actor,
    names: Names,
    _: Form,
) -> Result<Response, Refusal> {
    let id = match names.get("login_id") {
        "others" => None,
        _ => Some(names.number(LOGIN_ID)?),
    };
    let name = &session.caller.name;
    let mut db = app.hot().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    account::end_logins(&mut tx, &actor, id, &session.hash).await?;
    tx.commit().await.map_err(StoreError::from)?;
    app.auth.changed(name);
    Ok(see_other("/account"))
}

pub(crate) async fn add(
    State(app): State<App>,
    Extension(session): Extension<Session>,
    actor: Actor,
    shell: Shell,
    form: Form,
) -> Result<Response, Refusal> {
    let token_name = form.text("name").unwrap_or_default().trim();
    let days = form.text("days").unwrap_or("90");
    if !LIFETIMES.iter().any(|(known, _)| *known == days) {
        return Err(Refusal::bad_request("`days` is none of the choices"));
    }
    let Some(scope) = TokenScope::of(form.text("scope").unwrap_or("all")) else {
        return Err(Refusal::bad_request("`scope` is none of the choices"));
    };
    let refused = async |status, words: String| {
        let ended = AccountNotices { token: Some(words), ..AccountNotices::default() };
        page(&app, shell.clone(), &session, status, (ended, token_name)).await
    };
    if token_name.is_empty() || token_name.chars().count() > MOST_NAME_CHARS {
        let words = format!("A token has a name of up to {MOST_NAME_CHARS} characters: what it is for.");
        return refused(StatusCode::UNPROCESSABLE_ENTITY, words).await;
    }
    let (user, now) = (session.caller.name.clone(), app.config.clock.now());
    let fresh = FreshToken::random();
    let expires_at = days.parse().ok().map(|days| now + TimeDelta::days(days));
    let new = NewToken { token_hash: &fresh.hash, user: &user, name: token_name, scope, now, expires_at };
    let mut db = app.hot().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    match account::create_token(&mut tx, &actor, &new).await? {
        AddToken::Added => {
            tx.commit().await.map_err(StoreError::from)?;
            drop(db);
            let fresh_is_for_queries = scope == TokenScope::Serving;
            let ended = AccountNotices { fresh: Some(fresh.text), fresh_is_for_queries, ..AccountNotices::default() };
            page(&app, shell.clone(), &session, StatusCode::OK, (ended, "")).await
        }
        AddToken::Taken => refused(StatusCode::CONFLICT, format!("There is a token `{token_name}` already.")).await,
        AddToken::TooMany => {
            let words = format!("There are {MOST_TOKENS} tokens already: revoke some that are no longer used.");
            refused(StatusCode::CONFLICT, words).await
        }
    }
}

pub(crate) async fn revoke(
    State(app): State<App>,
    Extension(session): Extension<Session>,
    actor: Actor,
    names: Names,
    _: Form,
) -> Result<Response, Refusal> {
    let id = names.number(TOKEN_ID)?;
    let mut db = app.hot().await?;
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    account::revoke_token(&mut tx, &actor, &actor.name, id).await?;
    tx.commit().await.map_err(StoreError::from)?;
    app.auth.changed(&session.caller.name);
    Ok(see_other("/account"))
}
