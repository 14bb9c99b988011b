//! What the form of a variable sends.

use super::edit::{VariableForm, page};
use crate::api::kept::save;
use crate::extract::{Actor, Form, Query};
use crate::pages::{Shell, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::Variable;
use orch_sdk::secret::{MASK, masked_variable};
use orch_spec::ids::check_variable_key;
use orch_wire::NounBody;
use serde_json::{Value, json};

/// `POST /variables/edit`: `?key=` changes that one, without it a new one is added.
pub(crate) async fn submit(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let own_key = query.text("key").unwrap_or_default();
    let text = |name: &str| form.text(name).unwrap_or_default();
    let key = if own_key.is_empty() { text("key").trim() } else { own_key };
    // Browsers send line ends as forms have them.
    let value = text("value").replace("\r\n", "\n");
    let description = text("description").trim().to_string();
    let is_json = form.text("json").is_some();
    let keeps = !own_key.is_empty() && value.is_empty() && form.text("kept").is_some();
    let refused = |shell: Shell, problem: String| {
        let shown = if keeps { MASK.into() } else { masked_variable(key, &value) };
        let wish = VariableForm { key: key.into(), value: shown, description: description.clone(), is_json };
        page(&app, shell, own_key, wish, Some(problem))
    };
    if let Err(bad) = check_variable_key(key) {
        return refused(shell, format!("The key cannot be taken: {bad}."));
    }
    if is_json
        && !keeps
        && let Err(error) = serde_json::from_str::<Value>(&value)
    {
        return refused(shell, format!("The value is not JSON: see line {}.", error.line()));
    }
    let mut columns = vec![("description", json!(Some(&description).filter(|text| !text.is_empty())))];
    if !keeps {
        columns.push(("value", json!(value)));
    }
    match save::<Variable>(&app, &actor, own_key.is_empty(), NounBody { name: key.into(), columns }).await {
        Ok(_) => Ok(see_other("/variables")),
        Err(refusal @ Refusal::Plain { status: StatusCode::CONFLICT, .. }) => refused(shell, refusal.words()),
        Err(refusal) => Err(refusal),
    }
}
