//! The form of a noun, made of the table of its fields. What it sends is judged as a body of the API is.

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
use orch_wire::noun::{Field, FieldKind};
use serde_json::{Map, Value};

#[derive(Template)]
#[template(path = "pages/kept/edit.html")]
struct EditPage {
    shell: Shell,
    list: (&'static str, &'static str),
    /// `pool`.
    noun: String,
    /// Of one that is there; empty: a new one.
    name: String,
    href: String,
    delete_href: Option<String>,
    inputs: Vec<Input>,
    problem: Option<String>,
}

/// A field of the form.
struct Input {
    name: &'static str,
    label: &'static str,
    help: &'static str,
    kind: InputKind,
    value: String,
    is_required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum InputKind {
    Name { most: usize },
    Text,
    Whole { least: i32, most: i32 },
    Flag,
}

impl InputKind {
    /// What a form can ask for.
    fn of(field: &Field) -> Option<InputKind> {
        match field.kind {
            FieldKind::Name { most, .. } => Some(InputKind::Name { most }),
            FieldKind::Text | FieldKind::FilledText => Some(InputKind::Text),
            FieldKind::Whole { least, most } => Some(InputKind::Whole { least, most }),
            FieldKind::Flag => Some(InputKind::Flag),
            _ => None,
        }
    }
}

/// The fields that the form of this one asks for.
fn asked<K: Pages>(name: &str) -> impl Iterator<Item = (&'static Field, InputKind, (&'static str, &'static str))> {
    let fields = std::iter::once(K::NOUN.name()).chain(K::NOUN.parts());
    fields.filter_map(move |field| Some((field, InputKind::of(field)?, K::ask(field.name, name)?)))
}

/// `GET …/edit?key=…`: one that is there, or a new one.
pub(crate) async fn show<K: Pages>(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let name = query.text(K::KEY).unwrap_or_default();
    if name.is_empty() {
        return page::<K>(shell, "", &K::fresh(), None);
    }
    let record = stored::<K>(&app, name).await?;
    let values = asked::<K>(name).map(|(field, ..)| (field.name.to_string(), record.get(field.column).clone()));
    page::<K>(shell, name, &values.collect(), None)
}

/// `POST …/edit?key=…` changes that one; without a key a new one is added.
pub(crate) async fn submit<K: Pages>(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let own = query.text(K::KEY).unwrap_or_default();
    let mut sent: Map<String, Value> =
        asked::<K>(own).map(|(field, kind, _)| (field.name.to_string(), typed(kind, form.text(field.name)))).collect();
    if !own.is_empty() {
        sent.insert(K::NOUN.name().name.into(), own.into());
    }
    let mut fields = Fields::new(sent.clone());
    let read = K::NOUN.read(&mut fields);
    let saved = match fields.finish() {
        Ok(()) => save::<K>(&app, &actor, own.is_empty(), read).await.map(drop),
        Err(invalid) => Err(invalid.into()),
    };
    match saved {
        Ok(()) => Ok(see_other(K::LIST)),
        Err(refusal) => match problem::<K>(&refusal) {
            Some(problem) => page::<K>(shell, own, &sent, Some(problem)),
            None => Err(refusal),
        },
    }
}

/// What was typed, as a body says it. What is no number stays as it is, and is refused as such.
fn typed(kind: InputKind, text: Option<&str>) -> Value {
    let text = text.map(str::trim);
    match kind {
        InputKind::Flag => text.is_some().into(),
        InputKind::Whole { .. } => match text.unwrap_or_default() {
            "" => Value::Null,
            text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        },
        InputKind::Name { .. } => text.unwrap_or_default().into(),
        InputKind::Text => text.filter(|text| !text.is_empty()).into(),
    }
}

/// What a person can mend in the form; nothing where something else is wrong.
fn problem<K: Pages>(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::Invalid(problems) => {
            let said = problems.iter().map(|problem| {
                let place = problem.loc.last().and_then(Value::as_str).unwrap_or_default();
                let label = K::ask(place, "").map_or(place, |(label, _)| label);
                format!("{label}: {}.", problem.msg.trim_start_matches("Value error, "))
            });
            Some(said.collect::<Vec<_>>().join(" "))
        }
        Refusal::Taken(_) => Some(format!("there is a {} of that name already", K::NOUN.one.to_lowercase())),
        Refusal::Plain { status: StatusCode::BAD_REQUEST | StatusCode::CONFLICT, .. } => Some(refusal.words()),
        _ => None,
    }
}

/// The form with what it holds; `name`: of one that is there.
fn page<K: Pages>(
    shell: Shell,
    name: &str,
    values: &Map<String, Value>,
    problem: Option<String>,
) -> Result<Response, Refusal> {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let is_new = name.is_empty();
    let inputs = asked::<K>(name).map(|(field, kind, (label, help))| Input {
        name: field.name,
        label,
        help,
        kind,
        value: match values.get(field.name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        },
        is_required: field.is_required,
    });
    let page = EditPage {
        inputs: inputs.collect(),
        list: (K::LIST, K::TITLE),
        noun: K::NOUN.one.to_lowercase(),
        href: if is_new { format!("{}/edit", K::LIST) } else { K::href(name) },
        delete_href: (!is_new && K::check_delete(name).is_ok()).then(|| K::delete_href(name)),
        name: name.into(),
        shell,
        problem,
    };
    html(status, &page)
}
