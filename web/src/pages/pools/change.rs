//! What the form of a pool sends.

use super::edit::{Wish, page};
use crate::api::kept::save;
use crate::extract::{Actor, Form, Query};
use crate::pages::{Shell, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_core::gates::check_pool_name;
use orch_deeds::Pool;
use orch_wire::Sent;
use serde_json::json;

/// `POST /pools/edit`: `?name=` changes that one, without it a new one is added.
pub(crate) async fn submit(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let own = query.text("name").unwrap_or_default().to_string();
    let text = |name: &str| form.text(name).unwrap_or_default().trim().to_string();
    let wish = Wish {
        name: if own.is_empty() { text("name") } else { own.clone() },
        slots: text("slots"),
        description: text("description"),
        include_deferred: form.text("include_deferred").is_some(),
    };
    if let Err(why) = check_pool_name(&wish.name) {
        return page(shell, &own, wish, Some(format!("The name cannot be taken: {why}.")));
    }
    let Some(slots) = wish.slots.parse().ok().filter(|slots: &i32| *slots >= -1) else {
        return page(shell, &own, wish, Some("Slots are a whole number; -1 means no limit.".into()));
    };
    let mut columns = vec![("slots", json!(slots)), ("include_deferred", json!(wish.include_deferred))];
    // The form of the default pool has no description.
    if form.text("description").is_some() {
        columns.push(("description", json!(Some(&wish.description).filter(|text| !text.is_empty()))));
    }
    let sent = Sent { name: wish.name.clone(), columns };
    match save::<Pool>(&app, &actor, own.is_empty(), sent).await {
        Ok(_) => Ok(see_other("/pools")),
        Err(Refusal::Taken(_)) => {
            let problem = format!("there is a pool `{}` already", wish.name);
            page(shell, &own, wish, Some(problem))
        }
        Err(refusal) => Err(refusal),
    }
}
