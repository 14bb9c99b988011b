//! What the form of a pool sends: saved, deleted.

use super::edit::{Wish, page};
use super::href;
use crate::api::pools::{Sent, add, in_transaction, no_such_pool, remove, update};
use crate::extract::{Actor, Form, Query};
use crate::pages::delete::DeletePage;
use crate::pages::{Shell, html, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::gates::check_pool_name;
use orch_store::part::Becomes;
use orch_store::pool::get_pool;

/// `POST /pools/edit`: `?name=` changes that one, without it a new one is added.
pub(crate) async fn save(
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
    let Some(slots) = wish.slots.parse().ok().filter(|slots| *slots >= -1) else {
        return page(shell, &own, wish, Some("Slots are a whole number; -1 stands for as many as you like.".into()));
    };
    let sent = Sent {
        name: wish.name.clone(),
        slots: Some(slots),
        // That of the default pool stays.
        description: form
            .text("description")
            .map(|_| Becomes(Some(wish.description.clone()).filter(|d| !d.is_empty()))),
        include_deferred: Some(wish.include_deferred),
    };
    let done = in_transaction(&app, async |tx| {
        if own.is_empty() { add(tx, &actor, &sent).await } else { update(tx, &actor, &sent).await }
    });
    match done.await {
        Ok(_) => Ok(see_other("/pools")),
        Err(refusal @ Refusal::Taken(_)) => page(shell, &own, wish, Some(refusal.words())),
        Err(refusal) => Err(refusal),
    }
}

/// `GET /pools/delete?name=…`: what will happen.
pub(crate) async fn ask_delete(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let name = query.text("name").unwrap_or_default();
    let row = get_pool(&mut *app.pages().await?, name).await?.ok_or_else(|| no_such_pool(name))?;
    let page = DeletePage {
        shell,
        list: ("/pools", "Pools"),
        sentence:
            "What runs in it goes on. Tasks that name it wait from then on, until there is a pool of that name again."
                .into(),
        action: "/pools/delete".into(),
        field: Some(("name", row.name.clone())),
        back: href(&row.name),
        name: row.name,
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    in_transaction(&app, async |tx| remove(tx, &actor, form.text("name").unwrap_or_default()).await).await?;
    Ok(see_other("/pools"))
}
