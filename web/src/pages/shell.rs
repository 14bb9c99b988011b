//! Data for the frame of every page: user, theme, path, time zone and counts.

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

/// Frame data of a request, kept after the request itself is consumed.
#[derive(Debug, Clone)]
pub(crate) struct PageRequest {
    /// Path with query.
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
    /// `None` follows the system theme.
    pub(crate) theme: Option<&'static str>,
    /// Path and query of the page, to which forms return.
    pub(crate) path: String,
    pub(crate) pulse: Option<Pulse>,
    /// Current time, with the zone in which times are displayed.
    pub(crate) now: ZonedNow,
    /// True if the zone follows the browser, so the page's script may change it.
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

    /// Returns true if the page belongs to this entry of the menu.
    pub(crate) fn is_in(&self, section: &str) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        path.split('/').nth(1).unwrap_or_default() == section
    }

    pub(crate) fn can(&self, role: Role) -> bool {
        self.user.as_ref().is_some_and(|user| user.role >= role)
    }

    /// Returns true if the user may trigger, clear and mark.
    pub(crate) fn can_run(&self) -> bool {
        self.can(Role::User)
    }

    /// Returns true if the user may change connections and variables.
    pub(crate) fn can_operate(&self) -> bool {
        self.can(Role::Op)
    }

    pub(crate) fn can_delete(&self) -> bool {
        self.can(Role::Op)
    }

    /// Returns true if the user may do everything, including managing users.
    pub(crate) fn can_manage(&self) -> bool {
        self.can(Role::Admin)
    }

    pub(crate) fn form_token(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.form_token)
    }

    /// Returns the time zone of the server, if it is not UTC.
    pub(crate) fn server_zone() -> Option<&'static str> {
        zone::of_server().filter(|zone| *zone != Tz::UTC).map(Tz::name)
    }

    /// Returns the name of the zone in which times are displayed.
    pub(crate) fn zone_name(&self) -> &'static str {
        self.now.zone.name()
    }

    /// Returns the theme that the theme button selects in browsers without JavaScript.
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
