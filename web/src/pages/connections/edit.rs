//! `/connections/edit`: the form for a connection that is added or changed, with fields by its type. A password is never in
//! the page: an empty field leaves the one that is stored. In `extra` secrets stand as `***`, and stay what they are while
//! they stand so.

use super::kinds::{self, ConnectionFieldLabels, Extra, KINDS};
use crate::api::kept::stored;
use crate::extract::Query;
use crate::pages::kept::Pages;
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Connection as Kept;
use orch_sdk::task::Connection;
use orch_store::kept::Record;
use serde_json::{Map, Value};

#[derive(Template)]
#[template(path = "pages/connections/edit.html")]
struct EditPage {
    shell: Shell,
    /// Of one that is there; empty: a new one.
    id: String,
    href: String,
    delete_href: String,
    kind: ConnectionFieldLabels,
    wish: ConnectionForm,
    has_password: bool,
    /// A line for each field that the type has there.
    extras: Vec<(Extra, String)>,
    may_try: bool,
    has_key: bool,
    ended: Option<ConnectionNotice>,
}

/// What became of the form.
pub(super) enum ConnectionNotice {
    Problem(String),
    /// It was saved, and these secrets belonged to the place it led to before.
    Dropped(String),
    /// A trial: whether it went well, and what was said.
    Tried(bool, String),
}

/// What the form holds.
#[derive(Debug, Clone, Default)]
pub(super) struct ConnectionForm {
    pub(super) id: String,
    pub(super) conn_type: String,
    pub(super) description: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) login: String,
    pub(super) schema: String,
    pub(super) extra: Map<String, Value>,
    /// Instead of `extra`, as it was typed, when it is not JSON.
    pub(super) broken_extra: Option<String>,
}

impl ConnectionForm {
    fn of(shown: Connection) -> ConnectionForm {
        ConnectionForm {
            id: shown.id,
            conn_type: shown.conn_type,
            description: shown.description.unwrap_or_default(),
            host: shown.host.unwrap_or_default(),
            port: shown.port.map_or_else(String::new, |port| port.to_string()),
            login: shown.login.unwrap_or_default(),
            schema: shown.schema.unwrap_or_default(),
            extra: shown.extra,
            broken_extra: None,
        }
    }

    /// What has no line of its own, as JSON.
    fn rest(&self, kind: &ConnectionFieldLabels) -> String {
        if let Some(broken) = &self.broken_extra {
            return broken.clone();
        }
        let mut rest = self.extra.clone();
        rest.retain(|name, value| !(value.is_string() && kind.extras.iter().any(|extra| extra.name == name)));
        if rest.is_empty() { String::new() } else { format!("{:#}", Value::Object(rest)) }
    }
}

/// `?id=` one that is there, or `?type=` a new one.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    match query.text("id").filter(|id| !id.is_empty()) {
        Some(id) => saved(&app, shell, id, None).await,
        None => {
            let conn_type = query.text("type").unwrap_or_default().to_string();
            page(&app, shell, None, ConnectionForm { conn_type, ..ConnectionForm::default() }, None)
        }
    }
}

/// One that is there, as it is stored.
pub(super) async fn saved(
    app: &App,
    shell: Shell,
    id: &str,
    ended: Option<ConnectionNotice>,
) -> Result<Response, Refusal> {
    let row = stored::<Kept>(app, id).await?;
    let wish = ConnectionForm::of(Kept::visible(&row, &app.config.keys, true));
    page(app, shell, Some(&row), wish, ended)
}

/// The form with what it holds.
pub(super) fn page(
    app: &App,
    shell: Shell,
    row: Option<&Record>,
    wish: ConnectionForm,
    ended: Option<ConnectionNotice>,
) -> Result<Response, Refusal> {
    let kind = kinds::of(&wish.conn_type);
    let id = row.map_or_else(String::new, |row| row.name().into());
    let value = |extra: &Extra| wish.extra.get(extra.name).and_then(Value::as_str).unwrap_or_default().to_string();
    let status = match &ended {
        Some(ConnectionNotice::Problem(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let page = EditPage {
        href: if id.is_empty() { "/connections/edit".into() } else { Kept::href(&id) },
        delete_href: Kept::delete_href(&id),
        extras: kind.extras.iter().map(|extra| (*extra, value(extra))).collect(),
        has_password: row.is_some_and(|row| row.holds("password")),
        may_try: app.config.test_connection,
        has_key: !app.config.keys.is_empty(),
        shell,
        id,
        kind,
        wish,
        ended,
    };
    html(status, &page)
}
