//! The sender of a request, who pays its cost in the rate limit: the user, or the address if the user is unknown.
//!
//! An unknown credential is charged to its address before the lookup, and the points are returned if the lookup
//! succeeds. So a flood of unknown credentials does not reach the database, and does not lock out known users at the
//! same address.

use super::{Gate, cost};
use crate::auth::{Caller, Session, bearer};
use crate::behind::servers::BundleServer;
use crate::extract::Peer;
use crate::limit::{CHEAP, RateLimitKey};
use crate::refusal::Refusal;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use orch_store::token::{Audience, TokenScope};
use std::sync::Arc;

#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    gate: &'a Gate,
    method: &'a Method,
    headers: &'a HeaderMap,
    peer: Option<Peer>,
}

impl<'a> Sender<'a> {
    pub(super) fn of(gate: &'a Gate, request: &'a Request) -> Sender<'a> {
        let peer = request.extensions().get().copied();
        Sender { gate, method: request.method(), headers: request.headers(), peer }
    }

    /// Charges the cost of the route to a user.
    pub(super) fn spend(self, user: &Arc<str>) -> Result<(), Refusal> {
        let Gate { app, rule, .. } = self.gate;
        let taken = app.limits.take(&RateLimitKey::User(user.clone()), cost(rule), app.config.clock.now());
        taken.map_err(|retry_after| Refusal::TooMany { retry_after })
    }

    pub(super) fn spend_of_address(self, cost: u32) -> Result<(), Refusal> {
        let (app, Some(Peer(address))) = (&self.gate.app, self.peer) else { return Ok(()) };
        let taken = app.limits.take(&RateLimitKey::at(address), cost, app.config.clock.now());
        taken.map_err(|retry_after| Refusal::TooMany { retry_after })
    }

    async fn look_up<T>(self, is_known: bool, found: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        if is_known {
            let found = found.await;
            if matches!(found, Err(Refusal::NotLoggedIn(_))) {
                self.spend_of_address(CHEAP)?;
            }
            return found;
        }
        self.spend_of_address(CHEAP)?;
        let found = found.await?;
        if let Some(Peer(address)) = self.peer {
            self.gate.app.limits.give_back(&RateLimitKey::at(address), CHEAP);
        }
        Ok(found)
    }

    async fn caller_by(self, token: &str, scope: TokenScope) -> Result<Caller, Refusal> {
        let app = &self.gate.app;
        self.look_up(app.auth.knows(token), app.auth.caller_by(&app.hot, token, scope)).await
    }

    pub(super) async fn caller(self) -> Result<Caller, Refusal> {
        match bearer(self.headers) {
            Some(token) => self.caller_by(token, TokenScope::All).await,
            None => self.spend_of_address(CHEAP).and(Err(Refusal::NotLoggedIn("Not authenticated"))),
        }
    }

    pub(super) async fn session(self) -> Result<Session, Refusal> {
        let (app, cookie) = (&self.gate.app, self.gate.app.config.cookie());
        let session = app.auth.session(&app.hot, self.headers, cookie);
        match app.auth.knows_session(self.headers, cookie) {
            Some(is_known) => self.look_up(is_known, session).await,
            // Without a cookie there is no lookup to pay for.
            None => session.await,
        }
    }

    /// Identifies the caller of a server of the bundle and charges the cost of the route. Returns `None` if the request
    /// has neither a token nor a session, because some pages are open. A session permits reads only, because browsers
    /// send its cookie with requests of any page.
    pub(super) async fn caller_of_bundle(self, server: &BundleServer) -> Result<Option<Caller>, Refusal> {
        let key = self.headers.get("x-api-key").and_then(|key| key.to_str().ok()).map(str::trim);
        let scope = match server.audience {
            Audience::Serving => TokenScope::Serving,
            Audience::Catalog => TokenScope::All,
        };
        let caller = match key.or_else(|| bearer(self.headers)) {
            Some(token) => Some(self.caller_by(token, scope).await?),
            None if [Method::GET, Method::HEAD].contains(self.method) => match self.session().await {
                Ok(session) => Some(session.caller),
                Err(Refusal::NotLoggedIn(_)) => None,
                Err(refusal) => return Err(refusal),
            },
            None => None,
        };
        match &caller {
            Some(caller) => self.spend(&caller.name)?,
            None => self.spend_of_address(cost(&self.gate.rule))?,
        }
        Ok(caller)
    }
}
