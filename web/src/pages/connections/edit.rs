//! `/connections/edit`: the form for a connection that is added or changed, with fields by its type. A password is never in
//! the page: an empty field leaves the one that is stored. In `extra` secrets stand as `***`, and stay what they are while
//! they stand so.

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

/// Said of one that was saved.
pub(super) enum ConnectionNotice {
    /// These secrets belonged to the place it led to before.
    Dropped(String),
    /// A trial: whether it went well, and what was said.
    Tried(bool, String),
}

/// What the form holds.
#[derive(Default)]
pub(super) struct ConnectionForm {
    /// All fields of the noun but `extra`.
    pub(super) values: Map<String, Value>,
    pub(super) extra: Map<String, Value>,
    /// Instead of `extra`, as it was typed, when it is not JSON.
    pub(super) broken_extra: Option<String>,
}

impl ConnectionForm {
    fn of(shown: Reached) -> ConnectionForm {
        let mut values = shown.to_object();
        values.insert("connection_id".into(), shown.id.into());
        ConnectionForm { values, extra: shown.extra, broken_extra: None }
    }

    /// To be shown again, without any secret that was typed.
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
                // One that the type has no use for can still be taken away.
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

    /// What has no line of its own, as JSON.
    fn rest(&self, lines: &[Extra]) -> String {
        if let Some(broken) = &self.broken_extra {
            return broken.clone();
        }
        let mut rest = self.extra.clone();
        rest.retain(|name, value| !(value.is_string() && lines.iter().any(|extra| extra.name == name)));
        if rest.is_empty() { String::new() } else { format!("{:#}", Value::Object(rest)) }
    }
}

/// `?id=` one that is there, or `?type=` a new one.
pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    match query.text("id").filter(|id| !id.is_empty()) {
        Some(id) => saved(&app, shell, id, None).await,
        None => {
            let shown = Reached { conn_type: query.text("type").unwrap_or_default().into(), ..Reached::default() };
            page(&app, shell, None, &ConnectionForm::of(shown), (None, None))
        }
    }
}

/// One that is there, as it is stored.
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

/// The form with what it holds.
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
