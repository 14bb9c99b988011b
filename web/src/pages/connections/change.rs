//! Handles the submitted form of a connection.

use super::edit::{ConnectionForm, ConnectionNotice, page, saved};
use super::kinds;
use crate::api::kept::{save, stored};
use crate::auth::Role;
use crate::extract::{Actor, Fields, Form, Query};
use crate::pages::kept::edit::typed;
use crate::pages::{Shell, see_other};
use crate::refusal::Refusal;
use crate::state::App;
use crate::trial::try_connection;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_deeds::{Connection, Kept};
use orch_sdk::task::Connection as Reached;
use orch_spec::ids::ConnectionId;
use orch_store::connection::open;
use orch_store::kept::Record;
use orch_wire::NounBody;
use orch_wire::noun::FieldKind;
use serde_json::{Map, Value, json};

/// Returns the form as it was typed, and either the fields to store or the error.
fn read(form: &Form, id: &str) -> (ConnectionForm, Result<NounBody, Refusal>) {
    let text = |name: &str| form.text(name).unwrap_or_default().trim();
    let conn_type = Reached::normal_type(text("conn_type"));
    let written = text("extra");
    let (mut extra, wrong) = match serde_json::from_str(written) {
        _ if written.is_empty() => (Map::new(), None),
        Ok(Value::Object(read)) => (read, None),
        Ok(_) => (Map::new(), Some("Extra is a JSON object, such as {\"key\": \"value\"}.".to_string())),
        Err(error) => (Map::new(), Some(format!("Extra is not JSON: see line {}.", error.line()))),
    };
    for known in kinds::of(&conn_type).extras {
        // An empty field removes the value. A field that the form did not contain is left unchanged.
        if let Some(value) = form.text(&format!("extra:{}", known.name)).map(str::trim) {
            if value.is_empty() {
                extra.remove(known.name);
            } else {
                extra.insert(known.name.into(), value.into());
            }
        }
    }
    let parts = Connection::NOUN.parts().filter(|field| !matches!(field.kind, FieldKind::Object | FieldKind::Team));
    let values = parts.map(|field| (field.name.to_string(), typed(field.kind, form.text(field.name))));
    let mut values: Map<String, Value> = values.collect();
    values.insert("connection_id".into(), id.into());
    values.insert("conn_type".into(), conn_type.as_str().into());
    // The password is not trimmed. An empty field keeps the stored password.
    match form.text("password").unwrap_or_default() {
        _ if form.text("no_password").is_some() => values.insert("password".into(), Value::Null),
        "" => values.remove("password"),
        password => values.insert("password".into(), password.into()),
    };
    let mut fields = Fields::secret(values.clone());
    let mut sent = Connection::NOUN.read(&mut fields);
    sent.columns.push(("extra", json!(extra)));
    let problem = match (ConnectionId::new(id), fields.finish()) {
        (Err(bad), _) => Some(format!("The name cannot be taken: {bad}.")),
        (_, Err(_)) if conn_type.is_empty() => Some("A connection has a type.".into()),
        // Only the port can be invalid here: the other fields accept any text.
        (_, Err(_)) => Some("The port is a number up to 65535.".into()),
        (_, Ok(())) => wrong.clone(),
    };
    let refused = problem.map(|problem| Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, problem));
    let wish = ConnectionForm { values, extra, broken_extra: wrong.map(|_| written.into()) };
    (wish, refused.map_or(Ok(sent), Err))
}

/// `POST /connections/edit`: updates the connection `?id=`, or adds a new one if `id` is missing.
pub(crate) async fn submit(
    State(app): State<App>,
    actor: Actor,
    shell: Shell,
    query: Query,
    form: Form,
) -> Result<Response, Refusal> {
    let row = match query.text("id").unwrap_or_default() {
        "" => None,
        id => Some(stored::<Connection>(&app, id).await?),
    };
    let id = row.as_ref().map_or_else(|| form.text("id").unwrap_or_default().trim(), Record::name);
    let (wish, sent) = read(&form, id);
    let saving = match sent {
        Ok(sent) => save::<Connection>(&app, &actor, row.is_none(), sent).await,
        Err(refusal) => Err(refusal),
    };
    let problem = match saving {
        Ok((_, dropped)) => return after(&app, shell, &form, id, &dropped).await,
        Err(Refusal::Taken(_)) => format!("There is a connection `{id}` already."),
        Err(refusal @ Refusal::Plain { status: StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY, .. }) => {
            refusal.words()
        }
        Err(refusal) => return Err(refusal),
    };
    page(&app, shell, row.as_ref(), &wish.masked(), (Some(problem), None))
}

/// Builds the response to a successful save, and tests the connection if that was requested.
async fn after(app: &App, shell: Shell, form: &Form, id: &str, dropped: &[String]) -> Result<Response, Refusal> {
    let notice = match form.text("do") {
        _ if !dropped.is_empty() => ConnectionNotice::Dropped(dropped.join(", ")),
        Some("try") if app.config.test_connection => {
            let record = stored::<Connection>(app, id).await?;
            match try_connection(&open(&record, &app.config.keys)?, &app.config.reach).await {
                Ok(words) => ConnectionNotice::Tried(true, words),
                Err(error) => ConnectionNotice::Tried(false, error.message_for(id, shell.can(Role::Admin))),
            }
        }
        _ => return Ok(see_other("/connections")),
    };
    saved(app, shell, id, Some(notice)).await
}
