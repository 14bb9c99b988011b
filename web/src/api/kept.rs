//! Named objects of users: pools, variables, connections. All of them share these handlers, which use the noun's field
//! table (`orch_wire::Noun`) and its rules (`orch_deeds::Kept`).

use super::list::asked;
use super::mask::MaskParams;
use crate::auth::{Caller, Role};
use crate::extract::{Actor, Fields, JsonBody, Names, Query, escape_id};
use crate::openapi::kept::{BodyOf, PatchOf};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use orch_deeds::{Kept, Refused, kept as deeds};
use orch_store::kept::{self, Record};
use orch_store::list::ListPage;
use orch_store::seal::SecretError;
use orch_wire::NounBody;
use orch_wire::noun::{AppearsIn, NameConflict, Patch};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

/// Airflow routes that orch does not have. Without this list, the last segment would be taken for a name.
const NO_ROUTES: [(&str, &str); 1] = [("connections", "enqueue-test")];

pub(crate) async fn list<K: Kept>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<Value>, Refusal> {
    let search = asked(&mut query, K::COLUMNS)?;
    let ListPage { rows, total: total_entries } = kept::find(&mut *app.pages().await?, K::TABLE, &search).await?;
    let views: Vec<_> = rows.iter().map(|row| view::<K>(&app, caller.role, row)).collect();
    Ok(Json(json!({ K::NOUN.many: views, "total_entries": total_entries })))
}

pub(crate) async fn get<K: Kept>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
) -> Result<Json<Value>, Refusal> {
    let record = stored::<K>(&app, names.get(K::NOUN.path_key)).await?;
    Ok(Json(view::<K>(&app, caller.role, &record).into()))
}

pub(crate) async fn create<K: Kept>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    body: JsonBody,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let sent = fields::<K>(body).whole::<BodyOf<K>>()?.sent;
    let (record, _) = save::<K>(&app, &actor, true, sent).await?;
    Ok((StatusCode::CREATED, Json(view::<K>(&app, caller.role, &record).into())))
}

pub(crate) async fn patch<K: Kept>(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    actor: Actor,
    names: Names,
    mut query: Query,
    body: JsonBody,
) -> Result<Json<Value>, Refusal> {
    let name = names.get(K::NOUN.path_key);
    let MaskParams::<PatchOf<K>> { update_mask } = query.take();
    let mut fields = fields::<K>(body);
    let sent = K::NOUN.read_change(&mut fields, name);
    fields.finish()?;
    let sent = K::NOUN.masked(sent, &update_mask);
    if let Patch::Whole { other_name, mask_is_checked } = K::NOUN.patch {
        if sent.name != name {
            return Err(Refusal::bad_request(other_name));
        }
        let key = K::NOUN.name().name;
        if mask_is_checked && update_mask.iter().any(|field| field == key) {
            let text = "Update not allowed: the following fields are immutable and cannot be modified";
            return Err(Refusal::bad_request(format!("{text}: {{'{key}'}}")));
        }
    }
    let (record, dropped) = save::<K>(&app, &actor, false, sent).await?;
    let mut view = view::<K>(&app, caller.role, &record);
    if !dropped.is_empty() {
        view.insert("dropped_secrets".into(), json!(dropped));
    }
    Ok(Json(view.into()))
}

pub(crate) async fn delete<K: Kept>(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    delete_one::<K>(&app, &actor, names.get(K::NOUN.path_key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn delete_one<K: Kept>(app: &App, actor: &Actor, name: &str) -> Result<(), Refusal> {
    app.in_transaction(async |tx| remove::<K>(tx, actor, name).await).await?;
    done::<K>(app);
    Ok(())
}

pub(crate) fn fields<K: Kept>(body: JsonBody) -> Fields {
    if K::NOUN.has_secrets { body.secret_fields() } else { body.fields() }
}

/// Returns the record with this name, or a 404 error.
pub(crate) async fn stored<K: Kept>(app: &App, name: &str) -> Result<Record, Refusal> {
    let found = kept::get(&mut *app.pages().await?, K::TABLE, name).await?;
    found.ok_or_else(|| refusal::<K>(name, Refused::NotFound))
}

/// Adds a record. Like [`change`] and [`remove`], it runs in the caller's transaction.
pub(crate) async fn add<K: Kept>(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    sent: NounBody,
) -> Result<Record, Refusal> {
    let name = sent.name.clone();
    deeds::add::<K>(tx, actor, &app.config.keys, sent).await.map_err(|refused| refusal::<K>(&name, refused))
}

/// Changes a record and returns it with the names of the secrets that were dropped.
pub(crate) async fn change<K: Kept>(
    app: &App,
    tx: &mut PgConnection,
    actor: &Actor,
    sent: NounBody,
) -> Result<(Record, Vec<String>), Refusal> {
    let name = sent.name.clone();
    deeds::change::<K>(tx, actor, &app.config.keys, sent).await.map_err(|refused| refusal::<K>(&name, refused))
}

pub(crate) async fn remove<K: Kept>(tx: &mut PgConnection, actor: &Actor, name: &str) -> Result<(), Refusal> {
    deeds::delete::<K>(tx, actor, name).await.map_err(|refused| refusal::<K>(name, refused))
}

/// Adds a record or changes an existing one.
pub(crate) async fn save<K: Kept>(
    app: &App,
    actor: &Actor,
    is_new: bool,
    sent: NounBody,
) -> Result<(Record, Vec<String>), Refusal> {
    let saved = app.in_transaction(async |tx| {
        if is_new {
            Ok((add::<K>(app, tx, actor, sent).await?, Vec::new()))
        } else {
            change::<K>(app, tx, actor, sent).await
        }
    });
    let saved = saved.await?;
    done::<K>(app);
    Ok(saved)
}

/// Sends the noun's hint. Must be called after the commit.
pub(crate) fn done<K: Kept>(app: &App) {
    if let Some(hint) = K::HINT {
        app.hints.give(hint);
    }
}

fn refusal<K: Kept>(name: &str, refused: Refused) -> Refusal {
    let noun = K::NOUN;
    let named = || format!("The {} with {}: `{}`", noun.one, noun.name().name, escape_id(name));
    match refused {
        Refused::NotFound if NO_ROUTES.contains(&(noun.many, name)) => Refusal::NoSuchRoute,
        Refused::NotFound => Refusal::not_found(format!("{} was not found", named())),
        Refused::Taken => {
            let text = format!("{} already exists", named());
            match noun.taken {
                NameConflict::Text => Refusal::plain(StatusCode::CONFLICT, text),
                NameConflict::Constraint => Refusal::Taken(text),
            }
        }
        Refused::Rule(why) => Refusal::bad_request(why),
        Refused::Forbidden(why) => Refusal::plain(StatusCode::FORBIDDEN, why),
        Refused::Secret(SecretError::Store(error)) => error.into(),
        Refused::Secret(error) => error.into(),
    }
}

/// Returns the fields of a record that a user with this role may see.
fn view<K: Kept>(app: &App, role: Role, record: &Record) -> Map<String, Value> {
    let mut shown = K::visible_fields(record, &app.config.keys, role >= Role::Op);
    let fields = K::NOUN.fields.iter().filter(|field| field.appears_in != AppearsIn::AnswersOfChanges);
    fields.map(|field| (field.name.to_string(), shown.remove(field.name).unwrap_or_default())).collect()
}
