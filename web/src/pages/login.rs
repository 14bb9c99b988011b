//! `/login` and `/logout`: opens a session for a password, and closes it.

use super::{Shell, html, local, see_other};
use crate::auth::{Origin, Password, Session, is_wrong_login};
use crate::extract::{Form, Peer, Query};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

#[derive(Template)]
#[template(path = "pages/login.html")]
struct LoginPage {
    shell: Shell,
    score: parts::Score,
    /// Address to redirect to after the login.
    next: String,
    /// Kept in the form if the password was wrong.
    name: String,
    problem: Option<String>,
}

pub(crate) async fn show(shell: Shell, query: Query) -> Result<Response, Refusal> {
    let next = query.text("next").and_then(local).unwrap_or("/").to_string();
    if shell.user.is_some() {
        return Ok(see_other(&next));
    }
    let page = LoginPage { shell, score: parts::Score, next, name: String::new(), problem: None };
    html(StatusCode::OK, &page)
}

pub(crate) async fn log_in(
    State(app): State<App>,
    shell: Shell,
    Peer(ip): Peer,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let next = form.text("next").and_then(local).unwrap_or("/").to_string();
    let name = form.text("username").unwrap_or_default().trim().to_string();
    let password = Password::new(form.text("password").unwrap_or_default());
    let lifetime = app.config.session_lifetime;
    let problem =
        match app.auth.open_session(&app.hot, (&name, password), Origin { ip, headers: &headers }, lifetime).await {
            Ok(token) => {
                // Closes an older session of this browser, so that nothing is carried over from it.
                app.auth.close_session(&app.hot, &headers, app.config.cookie()).await?;
                let mut response = see_other(&next);
                response.headers_mut().append(header::SET_COOKIE, cookie(&app, &token, lifetime.as_secs())?);
                return Ok(response);
            }
            Err(refusal) if is_wrong_login(&refusal) => {
                (StatusCode::UNAUTHORIZED, "This name and password do not belong together.".to_string(), None)
            }
            Err(refusal @ Refusal::TooManyLogins { .. }) => {
                let words = format!("{}.", capital(&refusal.words()));
                let retry = refusal.into_response().headers_mut().remove(header::RETRY_AFTER);
                (StatusCode::TOO_MANY_REQUESTS, words, retry)
            }
            Err(refusal) => return Err(refusal),
        };
    let (status, problem, retry) = problem;
    let page = LoginPage { shell, score: parts::Score, next, name, problem: Some(problem) };
    let mut response = html(status, &page)?;
    if let Some(after) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    Ok(response)
}

pub(crate) async fn log_out(
    State(app): State<App>,
    Extension(session): Extension<Session>,
    Peer(ip): Peer,
    _: Form,
) -> Result<Response, Refusal> {
    app.auth.end_session(&app.hot, &session, ip).await?;
    let mut response = see_other("/login");
    response.headers_mut().append(header::SET_COOKIE, cookie(&app, "", 0)?);
    Ok(response)
}

fn cookie(app: &App, token: &str, seconds: u64) -> Result<HeaderValue, Refusal> {
    let secure = if app.config.https { "; Secure" } else { "" };
    let name = app.config.cookie();
    let text = format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).map_err(|_| Refusal::Broken("a session's token is no ASCII".into()))
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
