//! `POST /auth/token` exchanges a name and a password for a token. `POST /auth/logout` invalidates the token.

use crate::auth::{Origin, Password};
use crate::extract::{Peer, Secret};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use orch_wire::body;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

body! {
    pub(crate) struct LoginBody {
        username: String,
        password: String,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Token {
    access_token: String,
}

type TokenReply = Result<(StatusCode, Json<Token>), Refusal>;

pub(crate) async fn token(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    Secret(body): Secret<LoginBody>,
) -> TokenReply {
    let lifetime = app.config.token_lifetime;
    log_in(&app, (peer, &headers), body, lifetime).await
}

/// Returns a token for a command line, which expires sooner than other tokens.
pub(crate) async fn cli_token(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    Secret(body): Secret<LoginBody>,
) -> TokenReply {
    let lifetime = app.config.cli_token_lifetime;
    log_in(&app, (peer, &headers), body, lifetime).await
}

pub(crate) async fn log_out(State(app): State<App>, Peer(ip): Peer, headers: HeaderMap) -> Result<StatusCode, Refusal> {
    app.auth.log_out(&app.hot, &headers, ip).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn log_in(app: &App, (Peer(ip), headers): (Peer, &HeaderMap), body: LoginBody, lifetime: Duration) -> TokenReply {
    let LoginBody { username: name, password } = body;
    let access_token =
        app.auth.log_in(&app.hot, (&name, Password::new(password)), Origin { ip, headers }, lifetime).await?;
    Ok((StatusCode::CREATED, Json(Token { access_token })))
}
