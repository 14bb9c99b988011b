//! Variables that come, change and go. Each is written down without its value.

use super::{VariableView, no_such_variable, view};
use crate::auth::Caller;
use crate::extract::{Actor, Fields, JsonBody, Names, Query, shown};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_core::ids::{MAX_ID_CHARS, check_variable_key};
use orch_store::audit::Deed;
use orch_store::part::Becomes;
use orch_store::variable::{VariableChange, VariableRow, add_variable, change_variable, delete_variable, get_variable};
use orch_wire::Problem;
use orch_wire::fields::text;
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Airflow's `VariableBody`: the key, and the parts that stood there.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) key: String,
    pub(crate) change: VariableChange,
}

impl Sent {
    /// `masked`: only these parts count; empty: all.
    pub(super) fn read(fields: &mut Fields, masked: &[&str]) -> Sent {
        let key = fields.required_checked("key", key);
        let value = fields.required_value("value");
        Sent::with(fields, masked, key, Some(value))
    }

    /// Of one that is deleted only its key has to be there.
    pub(super) fn read_named(fields: &mut Fields, masked: &[&str]) -> Sent {
        let key = fields.required_text("key");
        let value = fields.checked("value", |value| Ok(value.clone()));
        Sent::with(fields, masked, key, value)
    }

    fn with(fields: &mut Fields, masked: &[&str], key: String, value: Option<Value>) -> Sent {
        let counts = |name: &str| masked.is_empty() || masked.contains(&name);
        let has_description = fields.has("description") && counts("description");
        let description = fields.text("description");
        if fields.text("team_name").is_some() {
            let why = "team_name cannot be set when multi_team mode is disabled. Please contact your administrator.";
            fields.refuse(Problem::value(why));
        }
        // What is no text is kept as its JSON.
        let value = value.filter(|_| counts("value")).map(|value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        });
        Sent { key, change: VariableChange { value, description: has_description.then_some(Becomes(description)) } }
    }
}

fn key(value: &Value) -> Result<String, Problem> {
    let key = text(value)?;
    if key.chars().count() > MAX_ID_CHARS {
        let msg = format!("String should have at most {MAX_ID_CHARS} characters");
        return Err(Problem::new("string_too_long", msg).with_ctx(json!({ "max_length": MAX_ID_CHARS })));
    }
    check_variable_key(&key).map_err(|bad| Problem::value(bad.to_string()))?;
    Ok(key)
}

pub(crate) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    body: JsonBody,
) -> Result<(StatusCode, Json<VariableView>), Refusal> {
    let mut fields = body.secret_fields();
    let sent = Sent::read(&mut fields, &[]);
    fields.finish()?;
    let row = app.in_transaction(async |tx| add(&app, tx, &actor, sent).await).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &caller, row))))
}

pub(crate) async fn patch(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    names: Names,
    query: Query,
    body: JsonBody,
) -> Result<Json<VariableView>, Refusal> {
    let mut fields = body.secret_fields();
    let mask: Vec<&str> = query.all("update_mask").collect();
    let sent = Sent::read(&mut fields, &mask);
    fields.finish()?;
    let key = names.get("variable_key");
    if sent.key != key {
        return Err(Refusal::bad_request("Invalid body, key from request body doesn't match uri parameter"));
    }
    if mask.contains(&"key") {
        let text = "Update not allowed: the following fields are immutable and cannot be modified: {'key'}";
        return Err(Refusal::bad_request(text));
    }
    let row = app.in_transaction(async |tx| update(&app, tx, &actor, key, sent.change).await).await?;
    Ok(Json(view(&app, &caller, row)))
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    app.in_transaction(async |tx| remove(tx, &actor, names.get("variable_key")).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// In a transaction of the caller, as all that follow.
pub(crate) async fn add(app: &App, tx: &mut PgConnection, actor: &Actor, sent: Sent) -> Result<VariableRow, Refusal> {
    let Sent { key, change } = sent;
    let (value, description) = (change.value.unwrap_or_default(), change.description.and_then(|Becomes(new)| new));
    if !add_variable(tx, &key, &value, description.as_deref(), &app.config.keys).await? {
        let text = format!("The Variable with key: `{}` already exists", shown(&key));
        return Err(Refusal::plain(StatusCode::CONFLICT, text));
    }
    actor.did(tx, deed("add_variable", &key)).await?;
    get_variable(tx, &key).await?.ok_or_else(|| no_such_variable(&key))
}

pub(crate) async fn update(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    key: &str,
    change: VariableChange,
) -> Result<VariableRow, Refusal> {
    let row = change_variable(tx, key, change, &app.config.keys).await?.ok_or_else(|| no_such_variable(key))?;
    actor.did(tx, deed("change_variable", key)).await?;
    Ok(row)
}

pub(crate) async fn remove(tx: &mut PgConnection, actor: &Actor, key: &str) -> Result<(), Refusal> {
    if !delete_variable(tx, key).await? {
        return Err(no_such_variable(key));
    }
    Ok(actor.did(tx, deed("delete_variable", key)).await?)
}

fn deed<'a>(event: &'a str, key: &str) -> Deed<'a> {
    Deed { event, extra: Some(json!({ "key": key })), ..Deed::default() }
}
