//! `/account`: settings of the user's own account: the password, active logins, and API tokens.

pub(crate) mod change;

use super::{Shell, html};
use crate::auth::{Hash, Session};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::session::{ListedSession, list_sessions};
use orch_store::token::{ListedToken, TokenScope, list_tokens};

#[derive(Template)]
#[template(path = "pages/account.html")]
struct AccountPage {
    shell: Shell,
    logins: Vec<Login>,
    tokens: Vec<Token>,
    ended: AccountNotices,
    /// Name in the form for a new token.
    token_name: String,
    lifetimes: [(&'static str, &'static str); 5],
}

struct Login {
    href: String,
    is_own: bool,
    is_program: bool,
    agent: String,
    client_ip: String,
    opened: parts::Ago,
    ends: parts::Ago,
}

struct Token {
    href: String,
    name: String,
    is_for_queries: bool,
    made: parts::Ago,
    ends: Option<parts::Ago>,
    is_over: bool,
}

/// Results of a change, shown on the page.
#[derive(Default)]
pub(super) struct AccountNotices {
    /// Error of the password form.
    password: Option<String>,
    password_is_new: bool,
    /// Error of the token form.
    token: Option<String>,
    /// A new token, which is shown only once.
    fresh: Option<String>,
    fresh_is_for_queries: bool,
}

/// Value of the field, as days, and label. Empty: no expiry.
const LIFETIMES: [(&str, &str); 5] =
    [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("1", "1 day"), ("", "until it is revoked")];
const MOST_LOGINS: i64 = 100;
const MOST_AGENT_CHARS: usize = 60;

pub(crate) async fn show(
    State(app): State<App>,
    Extension(session): Extension<Session>,
    shell: Shell,
) -> Result<Response, Refusal> {
    page(&app, shell, &session, StatusCode::OK, (AccountNotices::default(), "")).await
}

pub(super) async fn page(
    app: &App,
    shell: Shell,
    session: &Session,
    status: StatusCode,
    (ended, token_name): (AccountNotices, &str),
) -> Result<Response, Refusal> {
    let (name, now) = (&session.caller.name, shell.now);
    let mut db = app.pages().await?;
    let logins = list_sessions(&mut db, name, now.at, MOST_LOGINS).await?;
    let tokens = list_tokens(&mut db, name).await?;
    let page = AccountPage {
        logins: logins.into_iter().map(|row| login(row, &session.hash, now)).collect(),
        tokens: tokens.into_iter().map(|row| token(row, now)).collect(),
        shell,
        ended,
        token_name: token_name.into(),
        lifetimes: LIFETIMES,
    };
    html(status, &page)
}

fn login(row: ListedSession, own: &Hash, now: ZonedNow) -> Login {
    let is_cut = row.user_agent.chars().count() > MOST_AGENT_CHARS;
    let mut agent: String = row.user_agent.chars().take(MOST_AGENT_CHARS).collect();
    if is_cut {
        agent.push('…');
    }
    Login {
        href: format!("/account/logins/{}/end", row.id),
        is_own: row.token_hash == own,
        is_program: row.kind == "program",
        agent,
        client_ip: row.client_ip,
        opened: parts::ago(row.created_at, now),
        ends: parts::ago(row.expires_at, now),
    }
}

fn token(row: ListedToken, now: ZonedNow) -> Token {
    Token {
        href: format!("/account/tokens/{}/revoke", row.id),
        name: row.name,
        is_for_queries: row.scope == TokenScope::Serving,
        made: parts::ago(row.created_at, now),
        ends: row.expires_at.map(|at| parts::ago(at, now)),
        is_over: row.expires_at.is_some_and(|at| at <= now.at),
    }
}
