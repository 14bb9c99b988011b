//! The frame of every page: who is logged in, which colours, where one is, how the parts are.

use super::zone;
use crate::auth::{Role, Session, cookie_of};
use crate::parts::ZonedNow;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::Uri;
use axum::http::request::Parts;
use chrono_tz::Tz;
use orch_store::overview::Pulse;
use std::sync::Arc;

/// What a request says of the frame, kept while the request itself is used up.
#[derive(Debug, Clone)]
pub(crate) struct PageRequest {
    /// With the query.
    pub(crate) path: String,
    pub(crate) session: Option<Session>,
    theme: Option<&'static str>,
    zone: Option<zone::ZoneCookie>,
}

impl PageRequest {
    pub(crate) fn of(request: &Request, session: Option<Session>) -> PageRequest {
        PageRequest::new(request.uri(), request.headers(), session)
    }

    fn new(uri: &Uri, headers: &HeaderMap, session: Option<Session>) -> PageRequest {
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_string();
        let theme = cookie_of(headers, "theme").and_then(|theme| ["light", "dark"].into_iter().find(|t| *t == theme));
        PageRequest { path, session, theme, zone: zone::wish(headers) }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Shell {
    pub(crate) user: Option<User>,
    /// As the system, without one.
    pub(crate) theme: Option<&'static str>,
    /// Where one is, with the query: where forms come back to.
    pub(crate) path: String,
    pub(crate) pulse: Option<Pulse>,
    /// With the zone in which times are written.
    pub(crate) now: ZonedNow,
    /// Follows the browser: the script of the page may put another zone there.
    pub(crate) follows_browser: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) form_token: String,
}

impl Shell {
    pub(crate) async fn new(app: &App, asked: &PageRequest) -> Shell {
        let user = asked.session.as_ref().map(|session| User {
            name: session.caller.name.clone(),
            role: session.caller.role,
            form_token: session.form_token(),
        });
        let pulse = if user.is_some() { app.pulse().await } else { None };
        let now = ZonedNow { at: app.config.clock.now(), zone: asked.zone.map_or(Tz::UTC, |wish| wish.zone) };
        let follows_browser = asked.zone.is_none_or(|wish| wish.follows_browser);
        Shell { user, theme: asked.theme, path: asked.path.clone(), pulse, now, follows_browser }
    }

    /// Which entry of the rail one is in.
    pub(crate) fn is_in(&self, section: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        path.split('/').nth(1).unwrap_or_default() == section
    }

    pub(crate) fn can(&self, role: Role) -> bool {
        self.user.as_ref().is_some_and(|user| user.role >= role)
    }

    /// Triggers, clears and marks.
    pub(crate) fn can_run(&self) -> bool {
        self.can(Role::User)
    }

    /// Changes connections and variables.
    pub(crate) fn can_operate(&self) -> bool {
        self.can(Role::Op)
    }

    pub(crate) fn can_delete(&self) -> bool {
        self.can(Role::Op)
    }

    /// Users included.
    pub(crate) fn can_manage(&self) -> bool {
        self.can(Role::Admin)
    }

    pub(crate) fn form_token(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.form_token)
    }

    /// The zone of the machine this runs on, if it is not UTC.
    pub(crate) fn server_zone() -> Option<&'static str> {
        zone::of_server().filter(|zone| *zone != Tz::UTC).map(Tz::name)
    }

    /// Of the zone in which times are written.
    pub(crate) fn zone_name(&self) -> &'static str {
        self.now.zone.name()
    }

    /// What the button that changes the colours changes them to, for browsers without JavaScript.
    pub(crate) fn other_theme(&self) -> &'static str {
        if self.theme == Some("dark") { "light" } else { "dark" }
    }
}

impl FromRequestParts<App> for Shell {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let session = parts.extensions.get::<Session>().cloned();
        Ok(Shell::new(app, &PageRequest::new(&parts.uri, &parts.headers, session)).await)
    }
}
