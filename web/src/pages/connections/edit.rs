//! `/connections/edit`: the form that adds or changes a connection, with fields by its type. The page never contains a
//! password: an empty field keeps the stored one. Secrets in `extra` are shown as `***` and are kept while that value
//! is unchanged.

use super::kinds::{self, Extra, KINDS};
use crate::api::kept::stored;
use crate::extract::Query;
use crate::pages::kept::edit::{EditForm, Input, InputKind, MASKS, held, inputs};
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use orch_deeds::Connection;
use orch_sdk::task::Connection as Reached;
use orch_store::kept::Record;
use serde_json::{Map, Value, json};

#[derive(Template)]
#[template(path = "pages/connections/edit.html")]
struct EditPage {
    shell: Shell,
    form: EditForm,
    conn_type: String,
    may_try: bool,
    notice: Option<ConnectionNotice>,
}

/// Notice shown after a connection was saved.
pub(super) enum ConnectionNotice {
    /// Names of secrets that were deleted because the connection now points to another address.
    Dropped(String),
    /// Result of a connection test: whether it succeeded, and its message.
    Tried(bool, String),
}

#[derive(Default)]
pub(super) struct ConnectionForm {
    /// All fields of the connection except `extra`.
    pub(super) values: Map<String, Value>,
    pub(super) extra: Map<String, Value>,
    /// Text of `extra` as it was typed, if it is not a JSON object.
    pub(super) broken_extra: Option<String>,
}

impl ConnectionForm {
    fn of(shown: Reached) -> ConnectionForm {
        let mut values = shown.to_object();
        values.insert("connection_id".into(), shown.id.into());
        ConnectionForm { values, extra: shown.extra, broken_extra: None }
    }

    /// Masks typed secrets, so that the form can be shown again.
    pub(super) fn masked(mut self) -> ConnectionForm {
        let host = self.values.get("host").and_then(Value::as_str).map(String::from);
        let typed = Reached { extra: self.extra, host, ..Reached::default() }.masked();
        self.values.insert("host".into(), json!(typed.host));
        self.values.remove("password");
        ConnectionForm { values: self.values, extra: typed.extra, broken_extra: self.broken_extra }
    }

    fn inputs(&self, own_id: &str, has_password: bool) -> Vec<Input> {
        let kind = kinds::of(&held(&self.values, "conn_type"));
        let part = |(field, label): (&str, &'static str)| match field {
            "port" => Input::line(field, label, "a number", held(&self.values, field)),
            "password" => {
                // A stored password can be removed even if the connection type does not use one.
                let label = if label.is_empty() && has_password { "Password" } else { label };
                let input = Input { kind: InputKind::Password, ..Input::line(field, label, "", "") };
                if has_password { input.kept() } else { input }
            }
            _ => Input::line(field, label, "", held(&self.values, field)),
        };
        let line = |extra: &Extra| {
            let value = self.extra.get(extra.name).and_then(Value::as_str).unwrap_or_default();
            let (name, note) = (format!("extra:{}", extra.name), format!("extra: {}", extra.name));
            Input { placeholder: extra.placeholder, ..Input::line(name, extra.label, note, value) }
        };
        let label = if kind.extras.is_empty() { "Extra" } else { "Other extra" };
        let rest = Input::line("extra", label, "JSON object, sealed", self.rest(kind.extras));
        let mut all = inputs::<Connection>(own_id, &self.values);
        all.extend(kind.parts().map(part));
        all.extend(kind.extras.iter().map(line));
        all.push(Input { kind: InputKind::LongText, help: MASKS, placeholder: "{}", ..rest });
        all
    }

    /// Returns the fields of `extra` that have no separate input, as JSON.
    fn rest(&self, lines: &[Extra]) -> String {
        if let Some(broken) = &self.broken_extra {
            return broken.clone();
        }
        let mut rest = self.extra.clone();
        rest.retain(|name, value| !(value.is_string() && lines.iter().any(|extra| extra.name == name)));
        if rest.is_empty() { String::new() } else { format!("{:#}", Value::Object(rest)) }
    }
}

/// Shows the existing connection `?id=`, or an empty form for a new one of `?type=`.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    match query.text("id").filter(|id| !id.is_empty()) {
        Some(id) => saved(&app, shell, id, None).await,
        None => {
            let shown = Reached { conn_type: query.text("type").unwrap_or_default().into(), ..Reached::default() };
            page(&app, shell, None, &ConnectionForm::of(shown), (None, None))
        }
    }
}

/// Renders the form of a stored connection.
pub(super) async fn saved(
    app: &App,
    shell: Shell,
    id: &str,
    notice: Option<ConnectionNotice>,
) -> Result<Response, Refusal> {
    let row = stored::<Connection>(app, id).await?;
    let wish = ConnectionForm::of(Connection::visible(&row, &app.config.keys, true));
    page(app, shell, Some(&row), &wish, (None, notice))
}

pub(super) fn page(
    app: &App,
    shell: Shell,
    row: Option<&Record>,
    wish: &ConnectionForm,
    (problem, notice): (Option<String>, Option<ConnectionNotice>),
) -> Result<Response, Refusal> {
    let own_id = row.map_or("", Record::name);
    let inputs = wish.inputs(own_id, row.is_some_and(|row| row.holds("password")));
    let page = EditPage {
        form: EditForm::of::<Connection>(app, own_id, inputs, problem),
        conn_type: held(&wish.values, "conn_type"),
        may_try: app.config.test_connection,
        shell,
        notice,
    };
    html(page.form.status(), &page)
}
