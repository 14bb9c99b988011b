//! What the form of a variable sends: saved, deleted.

use super::edit::{Wish, page};
use super::href;
use crate::api::variables::{Sent, add, no_such_variable, remove, update};
use crate::extract::{Actor, Form, Query};
use crate::pages::delete::DeletePage;
use crate::pages::{Shell, html, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::ids::check_variable_key;
use orch_core::secret::{MASK, masked_variable};
use orch_store::part::Becomes;
use orch_store::variable::{VariableChange, get_variable};
use serde_json::Value;

/// `POST /variables/edit`: `?key=` changes that one, without it a new one is added.
pub(crate) async fn save(
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
        let wish = Wish { key: key.into(), value: shown, description: description.clone(), is_json };
        page(&app, shell, own_key, wish, Some(problem))
    };
    if let Err(bad) = check_variable_key(key) {
        return refused(shell, format!("The key cannot be taken: {bad}."));
    }
    if is_json
        && !keeps
        && let Err(error) = serde_json::from_str::<Value>(&value)
    {
        return refused(shell, format!("The value is no JSON: look at line {}.", error.line()));
    }
    let change = VariableChange {
        value: (!keeps).then(|| value.clone()),
        description: Some(Becomes((!description.is_empty()).then(|| description.clone()))),
    };
    let done = app.in_transaction(async |tx| {
        if own_key.is_empty() {
            add(&app, tx, &actor, Sent { key: key.into(), change }).await
        } else {
            update(&app, tx, &actor, key, change).await
        }
    });
    match done.await {
        Ok(_) => Ok(see_other("/variables")),
        Err(refusal @ Refusal::Plain { status: StatusCode::CONFLICT, .. }) => refused(shell, refusal.words()),
        Err(refusal) => Err(refusal),
    }
}

/// `GET /variables/delete?key=…`: what will happen.
pub(crate) async fn ask_delete(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let key = query.text("key").unwrap_or_default();
    let row = get_variable(&mut *app.hot().await?, key).await?.ok_or_else(|| no_such_variable(key))?;
    let page = DeletePage {
        shell,
        list: ("/variables", "Variables"),
        sentence: "Tasks that ask for it find none from then on, unless a file, a vault or the environment has one of \
            that key. Its value is gone for good."
            .into(),
        action: "/variables/delete".into(),
        field: Some(("key", row.key.clone())),
        back: href(&row.key),
        name: row.key,
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    app.in_transaction(async |tx| remove(tx, &actor, form.text("key").unwrap_or_default()).await).await?;
    Ok(see_other("/variables"))
}
