//! The edit form of a noun, built from the noun's field table. Submitted values are validated like a body of the API.
//! The page never contains a secret value: an empty field keeps the stored one.

use super::Pages;
use crate::api::kept::{save, stored};
use crate::extract::{Actor, Fields, Form, Query};
use crate::pages::{Shell, html, see_other};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_sdk::secret::MASK;
use orch_wire::noun::{Field, FieldKind, NounBody};
use serde_json::{Map, Value};

#[derive(Template)]
#[template(path = "pages/kept/edit.html")]
struct EditPage {
    shell: Shell,
    form: EditForm,
}

/// Parts of the form that all nouns share.
pub(crate) struct EditForm {
    pub(crate) list: (&'static str, &'static str),
    /// Noun in lower case, such as `pool`.
    pub(crate) noun: String,
    /// Name of the existing record; empty for a new one.
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) delete_href: Option<String>,
    pub(crate) inputs: Vec<Input>,
    /// Part that cannot be stored because the server has no encryption key.
    pub(crate) unsealed: Option<&'static str>,
    pub(crate) problem: Option<String>,
}

#[derive(Default)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) label: &'static str,
    /// Note next to the label.
    pub(crate) note: String,
    pub(crate) help: &'static str,
    pub(crate) placeholder: &'static str,
    pub(crate) kind: InputKind,
    pub(crate) value: String,
    pub(crate) is_required: bool,
    /// True if a value is stored and not shown.
    pub(crate) is_kept: bool,
    /// True if a typed secret was left out, so the browser must not send the input empty.
    pub(crate) must_be_filled: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum InputKind {
    Name {
        most: usize,
    },
    /// A single line without spell checking.
    #[default]
    Line,
    /// A required single line. Known values can be listed in the `datalist` called `known-` and the field's name.
    Word,
    Text,
    LongText,
    /// Never shown; the stored value can be removed.
    Password,
    Whole {
        least: i32,
        most: i32,
    },
    Flag,
}

impl InputKind {
    fn of(kind: FieldKind) -> InputKind {
        match kind {
            FieldKind::Name { most, .. } => InputKind::Name { most },
            FieldKind::Word { .. } => InputKind::Word,
            FieldKind::Text | FieldKind::FilledText => InputKind::Text,
            FieldKind::AnyText => InputKind::LongText,
            FieldKind::Whole { least, most } => InputKind::Whole { least, most },
            FieldKind::Flag => InputKind::Flag,
            _ => InputKind::Line,
        }
    }
}

impl Input {
    /// Builds a single-line input. Without a label the input is hidden, and the form sends its value back.
    pub(crate) fn line(
        name: impl Into<String>,
        label: &'static str,
        note: impl Into<String>,
        value: impl Into<String>,
    ) -> Input {
        Input { name: name.into(), label, note: note.into(), value: value.into(), ..Input::default() }
    }

    /// Marks the input as having a stored value that is not shown.
    pub(crate) fn kept(self) -> Input {
        Input {
            note: "sealed".into(),
            placeholder: "kept; type to replace",
            value: String::new(),
            is_kept: true,
            ..self
        }
    }
}

impl EditForm {
    /// Builds the form. `name` is the name of an existing record, or empty for a new one.
    pub(crate) fn of<K: Pages>(app: &App, name: &str, inputs: Vec<Input>, problem: Option<String>) -> EditForm {
        let is_new = name.is_empty();
        EditForm {
            list: (K::LIST, K::TITLE),
            noun: K::NOUN.one.to_lowercase(),
            href: if is_new { format!("{}/edit", K::LIST) } else { K::href(name) },
            delete_href: (!is_new && K::check_delete(name).is_ok()).then(|| K::delete_href(name)),
            unsealed: (K::NOUN.has_secrets && app.config.keys.is_empty()).then_some(K::SEALED),
            name: name.into(),
            inputs,
            problem,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        if self.problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
    }
}

/// Returns the fields that are shown in the form of the record `name`.
fn asked<K: Pages>(name: &str) -> impl Iterator<Item = (&'static Field, (&'static str, &'static str))> {
    let fields = std::iter::once(K::NOUN.name()).chain(K::NOUN.parts());
    fields.filter_map(move |field| Some((field, K::ask(field.name, name)?)))
}

/// Returns the name of the field in the form and in addresses.
fn input_name<K: Pages>(field: &Field) -> &'static str {
    if field.name == K::NOUN.name().name { K::KEY } else { field.name }
}

fn is_sealed<K: Pages>(field: &Field) -> bool {
    K::TABLE.sealed.contains(&field.column)
}

/// Returns the inputs of the form with their values.
pub(crate) fn inputs<K: Pages>(name: &str, values: &Map<String, Value>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (field, (label, help)) in asked::<K>(name) {
        let value = held(values, field.name);
        let is_json = values.get(JSON).map_or_else(|| is_json(&value), |sent| sent == true);
        let is_kept = !name.is_empty() && is_sealed::<K>(field) && value == MASK;
        let kind = InputKind::of(field.kind);
        let input = Input {
            help: if kind == InputKind::LongText && !is_kept && value.contains(MASK) { MASKS } else { help },
            kind,
            is_required: field.is_required,
            must_be_filled: is_sealed::<K>(field) && values.contains_key(LEFT_OUT),
            ..Input::line(input_name::<K>(field), label, if kind == InputKind::Text { "optional" } else { "" }, value)
        };
        inputs.push(if is_kept { input.kept() } else { input });
        if kind == InputKind::LongText {
            let line = Input::line(JSON, "It is JSON: check it", "", is_json.to_string());
            inputs.push(Input { kind: InputKind::Flag, ..line });
        }
    }
    inputs
}

/// Help below a long text that contains masked secrets.
pub(crate) const MASKS: &str = "What is secret stands here as ***, and stays as it is while it stands so.";

/// Checkbox below a long text: the text must be JSON.
const JSON: &str = "json";

/// Key among the values of a form, set if typed secrets were left out.
const LEFT_OUT: &str = "left_out";

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_ok()
}

/// Returns a value as the form shows it.
pub(crate) fn held(values: &Map<String, Value>, name: &str) -> String {
    match values.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// `GET …/edit?key=…`: shows an existing record, or the form for a new one if the key is missing.
pub(crate) async fn show<K: Pages>(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let name = query.text(K::KEY).unwrap_or_default();
    if name.is_empty() {
        return page::<K>(&app, shell, "", &K::fresh(), None);
    }
    let record = stored::<K>(&app, name).await?;
    page::<K>(&app, shell, name, &K::visible_fields(&record, &app.config.keys, true), None)
}

/// `POST …/edit?key=…`: updates the record, or adds a new one if the key is missing.
pub(crate) async fn submit<K: Pages>(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let own = query.text(K::KEY).unwrap_or_default();
    let keeps = !own.is_empty() && form.text("kept").is_some();
    let value = |field: &Field| match typed(field.kind, form.text(input_name::<K>(field))) {
        empty if keeps && is_sealed::<K>(field) && empty == "" => MASK.into(),
        value => value,
    };
    let mut sent: Map<String, Value> =
        asked::<K>(own).map(|(field, _)| (field.name.to_string(), value(field))).collect();
    if !own.is_empty() {
        sent.insert(K::NOUN.name().name.into(), own.into());
    }
    let mut fields = Fields::new(sent.clone());
    let mut read = K::NOUN.read(&mut fields);
    // A stored secret that was not shown is kept without an encryption key.
    read.columns.retain(|(column, value)| !(keeps && value == MASK && K::TABLE.sealed.contains(column)));
    let is_json = form.text(JSON).is_some();
    let checked = fields.finish().map_err(Refusal::from);
    let saved = match checked.and_then(|()| if is_json { check_json::<K>(&read) } else { Ok(()) }) {
        Ok(()) => save::<K>(&app, &actor, own.is_empty(), read).await.map(drop),
        Err(refusal) => Err(refusal),
    };
    match saved {
        Ok(()) => Ok(see_other(K::LIST)),
        Err(refusal) => match problem::<K>(&refusal) {
            Some(problem) => {
                let problem = if leave_out_secrets::<K>(&mut sent) {
                    sent.insert(LEFT_OUT.into(), true.into());
                    format!("{}. Enter the value again: secrets are not repeated here.", problem.trim_end_matches('.'))
                } else {
                    problem
                };
                sent.insert(JSON.into(), is_json.into());
                page::<K>(&app, shell, own, &sent, Some(problem))
            }
            None => Err(refusal),
        },
    }
}

/// Converts typed text to a value of an API body. Text that is not a number is kept and fails the validation.
pub(crate) fn typed(kind: FieldKind, text: Option<&str>) -> Value {
    let line = text.map(str::trim).filter(|text| !text.is_empty());
    match kind {
        FieldKind::Flag => text.is_some().into(),
        FieldKind::Whole { .. } | FieldKind::Port => {
            line.map_or(Value::Null, |text| text.parse::<i64>().map_or_else(|_| text.into(), Value::from))
        }
        FieldKind::Name { .. } | FieldKind::Word { .. } => line.unwrap_or_default().into(),
        // Browsers send line breaks as CRLF.
        FieldKind::AnyText => text.unwrap_or_default().replace("\r\n", "\n").into(),
        _ => line.into(),
    }
}

/// Returns an error if a long text is not valid JSON.
fn check_json<K: Pages>(sent: &NounBody) -> Result<(), Refusal> {
    for field in K::NOUN.parts().filter(|field| matches!(field.kind, FieldKind::AnyText)) {
        let value = sent.columns.iter().find(|(column, _)| *column == field.column);
        let text = value.and_then(|(_, value)| value.as_str());
        if let Some(Err(error)) = text.map(serde_json::from_str::<Value>) {
            let text = format!("The {} is not JSON: see line {}.", field.name, error.line());
            return Err(Refusal::bad_request(text));
        }
    }
    Ok(())
}

/// Empties fields that contain typed secrets, because the form is shown again. Returns true if there were any. A mask
/// in their place would keep the stored secret, or be stored itself, when the user submits the form again.
fn leave_out_secrets<K: Pages>(sent: &mut Map<String, Value>) -> bool {
    let name = held(sent, K::NOUN.name().name);
    let mut had_secrets = false;
    for field in K::NOUN.parts().filter(|field| is_sealed::<K>(field)) {
        if let Some(Value::String(text)) = sent.get_mut(field.name)
            && !text.is_empty()
            && K::masked(&name, text) != *text
        {
            text.clear();
            had_secrets = true;
        }
    }
    had_secrets
}

/// Returns the message of an error that the user can correct in the form; `None` for other errors.
fn problem<K: Pages>(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Invalid(problems) => {
            let said = problems.iter().map(|problem| {
                let place = problem.loc.last().and_then(Value::as_str).unwrap_or_default();
                let label = K::ask(place, "").map_or(place, |(label, _)| label);
                match problem.msg.strip_prefix("Value error, ") {
                    Some(why) if place == K::NOUN.name().name => {
                        format!("The {} cannot be taken: {why}.", label.to_lowercase())
                    }
                    why => format!("{label}: {}.", why.unwrap_or(&problem.msg)),
                }
            });
            Some(said.collect::<Vec<_>>().join(" "))
        }
        Refusal::Taken(_) => Some(format!("there is a {} of that name already", K::NOUN.one.to_lowercase())),
        Refusal::Plain { status: StatusCode::BAD_REQUEST | StatusCode::CONFLICT, .. } => Some(refusal.words()),
        _ => None,
    }
}

/// Renders the form. `name` is the name of an existing record, or empty for a new one.
fn page<K: Pages>(
    app: &App,
    shell: Shell,
    name: &str,
    values: &Map<String, Value>,
    problem: Option<String>,
) -> Result<Response, Refusal> {
    let page = EditPage { form: EditForm::of::<K>(app, name, inputs::<K>(name, values), problem), shell };
    html(page.form.status(), &page)
}
