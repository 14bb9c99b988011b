//! Bulk requests: Airflow's `BulkBody` and `BulkResponse`. Each entity is changed in its own transaction, and the
//! response reports its success or failure.

use super::dag_runs::tell;
use super::kept;
use crate::extract::{Actor, JsonBody, Names, Typed};
use crate::guard::MayDelete;
use crate::openapi::kept::BodyOf;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use orch_deeds::Kept;
use orch_store::StoreError;
use orch_store::error::chain;
use orch_wire::body::{FieldType, word};
use orch_wire::{Body, Fields, NounBody, Problem, body, one_of};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::{Connection, PgConnection};
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::str::FromStr;

/// Maximum number of entities in a request.
const MOST_ENTITIES: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BulkActionType {
    Create,
    Update,
    Delete,
}

/// Handling of an entity that should be created but exists, or that should be changed but does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    Fail,
    Skip,
    Overwrite,
}

impl BulkActionType {
    const WORDS: [&str; 3] = ["create", "update", "delete"];
}

impl FromStr for BulkActionType {
    type Err = ();

    fn from_str(word: &str) -> Result<BulkActionType, ()> {
        match word {
            "create" => Ok(BulkActionType::Create),
            "update" => Ok(BulkActionType::Update),
            "delete" => Ok(BulkActionType::Delete),
            _ => Err(()),
        }
    }
}

impl FromStr for Existing {
    type Err = ();

    fn from_str(word: &str) -> Result<Existing, ()> {
        match word {
            "fail" => Ok(Existing::Fail),
            "skip" => Ok(Existing::Skip),
            "overwrite" => Ok(Existing::Overwrite),
            _ => Err(()),
        }
    }
}

/// Entities to change in the same way.
pub(super) struct Action<E> {
    pub(super) kind: BulkActionType,
    pub(super) entities: Vec<E>,
    pub(super) existing: Existing,
    /// True if entities that do not exist are skipped.
    skips: bool,
}

/// What became of the actions that were asked for; null: not asked for.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct BulkResponse {
    create: Option<BulkActionResponse>,
    update: Option<BulkActionResponse>,
    delete: Option<BulkActionResponse>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct BulkActionResponse {
    success: Vec<String>,
    /// Each with `error` and `status_code`.
    errors: Vec<Map<String, Value>>,
    /// Secrets that are not stored, because `***` stood for nothing or their connection leads elsewhere now, such as `sales: password`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped_secrets: Vec<String>,
}

/// An entity of a bulk request, with the bodies that create, update and delete one.
pub(crate) trait Entity: Sized {
    /// The name of the id field. A deletion may contain the id instead of an object.
    const ID: &'static str;
    type Create: FieldType + JsonSchema + Into<Self>;
    type Update: FieldType + JsonSchema;
    type Delete: FieldType + JsonSchema + Into<Self>;

    fn body_name() -> Cow<'static, str>;

    /// Drops the fields that are not in the mask. An empty mask contains all fields.
    fn updated(update: Self::Update, mask: &[String]) -> Result<Self, Problem>;
}

/// The body of a bulk request: `{"actions": […]}`.
pub(crate) struct BulkBody<E>(pub(super) Vec<Action<E>>);

impl<E: Entity> Body for BulkBody<E> {
    fn take(fields: &mut Fields) -> Option<Self> {
        let actions: Vec<Action<E>> = fields.take("actions")?;
        if actions.iter().map(|action| action.entities.len()).sum::<usize>() > MOST_ENTITIES {
            fields.refuse(Problem::value(format!("a request changes at most {MOST_ENTITIES} entities")));
        }
        Some(BulkBody(actions))
    }
}

impl<E: Entity> JsonSchema for BulkBody<E> {
    fn schema_name() -> Cow<'static, str> {
        E::body_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        // Inlined, because the schemas of different entities have the same names.
        let actions = [
            Creation::<E>::json_schema(generator),
            Update::<E>::json_schema(generator),
            Deletion::<E>::json_schema(generator),
        ];
        json_schema!({ "type": "object", "required": ["actions"],
            "properties": { "actions": { "type": "array", "items": { "oneOf": actions } } } })
    }
}

one_of! {
    struct CreateWord(BulkActionType): "create"
}

one_of! {
    struct UpdateWord(BulkActionType): "update"
}

one_of! {
    struct DeleteWord(BulkActionType): "delete"
}

one_of! {
    struct OnExistence(Existing): "fail", "skip", "overwrite"
}

one_of! {
    struct OnNonExistence(Existing): "fail", "skip"
}

body! {
    struct Creation<E: Entity> {
        action: CreateWord,
        entities: Vec<E::Create>,
        action_on_existence: Option<OnExistence>,
    }
}

body! {
    struct Update<E: Entity> {
        action: UpdateWord,
        entities: Vec<E::Update>,
        action_on_non_existence: Option<OnNonExistence>,
        update_mask: Option<Vec<String>>,
    }
}

body! {
    struct Deletion<E: Entity> {
        action: DeleteWord,
        entities: Vec<Named<E>>,
        action_on_non_existence: Option<OnNonExistence>,
    }
}

/// An id, or an object with the id.
struct Named<E: Entity>(E::Delete);

impl<E: Entity> FieldType for Named<E> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        let entity = if value.is_string() { json!({ E::ID: value }) } else { value };
        FieldType::read(entity).map(Named)
    }
}

impl<E: Entity> JsonSchema for Named<E> {
    fn schema_name() -> Cow<'static, str> {
        "Named".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, generator.subschema_for::<E::Delete>()] })
    }
}

impl<E: Entity> FieldType for Action<E> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        let skips = |absent: Option<OnNonExistence>| absent.is_some_and(|absent| absent.0 == Existing::Skip);
        // If `action` is missing, reading the body as an update reports the missing field.
        let kind =
            value.get("action").map_or(Ok(BulkActionType::Update), |action| word(action, &BulkActionType::WORDS));
        match kind.map_err(|problem| vec![problem.below("action")])? {
            BulkActionType::Create => {
                let read = Creation::<E>::read(value)?;
                let existing = read.action_on_existence.map_or(Existing::Fail, |existing| existing.0);
                let entities = read.entities.into_iter().map(Into::into).collect();
                Ok(Action { kind: BulkActionType::Create, entities, existing, skips: false })
            }
            BulkActionType::Delete => {
                let read = Deletion::<E>::read(value)?;
                let entities = read.entities.into_iter().map(|named| named.0.into()).collect();
                let skips = skips(read.action_on_non_existence);
                Ok(Action { kind: BulkActionType::Delete, entities, existing: Existing::Fail, skips })
            }
            BulkActionType::Update => {
                let read = Update::<E>::read(value)?;
                let mask = read.update_mask.unwrap_or_default();
                let updated = |(place, update)| {
                    let of_place = |problem: Problem| vec![problem.below(place).below("entities")];
                    E::updated(update, &mask).map_err(of_place)
                };
                let entities = read.entities.into_iter().enumerate().map(updated).collect::<Result<_, _>>()?;
                let skips = skips(read.action_on_non_existence);
                Ok(Action { kind: BulkActionType::Update, entities, existing: Existing::Fail, skips })
            }
        }
    }
}

/// Rejects deletions if the caller does not have the role that the route requires for them.
fn may<E>(MayDelete(may_delete): MayDelete, actions: &[Action<E>]) -> Result<(), Refusal> {
    let deletes = actions.iter().any(|action| action.kind == BulkActionType::Delete);
    if deletes && !may_delete { Err(Refusal::Forbidden) } else { Ok(()) }
}

/// The context of a bulk request.
pub(crate) struct Request<'a> {
    pub(super) app: &'a App,
    pub(super) actor: &'a Actor,
    pub(super) names: &'a Names,
}

/// A run or task instance that is changed in its own transaction.
pub(crate) trait Changed: Entity + Send + Sync {
    /// Changes the entity and returns its key in the response.
    fn change(
        &self,
        of: &Request<'_>,
        db: &mut PgConnection,
        kind: BulkActionType,
    ) -> impl Future<Output = Result<String, Refusal>> + Send;
}

/// Changes each entity separately. Failed entities do not affect the others.
pub(crate) async fn one_by_one<E: Changed>(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    names: Names,
    Typed(BulkBody(actions)): Typed<BulkBody<E>>,
) -> Result<Json<BulkResponse>, Refusal> {
    may(may_delete, &actions)?;
    names.dags()?;
    let of = Request { app: &app, actor: &actor, names: &names };
    let mut db = app.pages().await?;
    let mut answer = BulkResponse::default();
    'all: for action in &actions {
        answer.begin(action);
        for entity in &action.entities {
            let done = entity.change(&of, &mut db, action.kind).await;
            if answer.note(action, done.map(|key| (key, Vec::new())))?.is_break() {
                break 'all;
            }
        }
    }
    tell(&app);
    Ok(Json(answer))
}

/// Handles a bulk `PATCH` of named objects, such as pools.
pub(crate) async fn entities<K: Kept>(
    State(app): State<App>,
    actor: Actor,
    Extension(may_delete): Extension<MayDelete>,
    body: JsonBody,
) -> Result<Json<BulkResponse>, Refusal> {
    let BulkBody(actions) = kept::fields::<K>(body).whole::<BulkBody<BodyOf<K>>>()?;
    let answer = carry_out::<K>(&app, &actor, may_delete, actions).await?;
    kept::done::<K>(&app);
    Ok(Json(answer))
}

/// Changes each entity in its own transaction.
async fn carry_out<K: Kept>(
    app: &App,
    actor: &Actor,
    may_delete: MayDelete,
    actions: Vec<Action<BodyOf<K>>>,
) -> Result<BulkResponse, Refusal> {
    may(may_delete, &actions)?;
    let mut db = app.pages().await?;
    let mut answer = BulkResponse::default();
    'all: for mut action in actions {
        answer.begin(&action);
        for BodyOf { sent, .. } in std::mem::take(&mut action.entities) {
            let done = carry_out_one::<K>(app, &mut db, actor, &action, sent).await;
            if let Some(done) = done.transpose()
                && answer.note(&action, done)?.is_break()
            {
                break 'all;
            }
        }
    }
    Ok(answer)
}

/// Returns the name and the secrets that were dropped, or `None` if an existing entity was skipped.
async fn carry_out_one<K: Kept>(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    action: &Action<BodyOf<K>>,
    sent: NounBody,
) -> Result<Option<(String, Vec<String>)>, Refusal> {
    let name = sent.name.clone();
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let is_there = match (action.kind, action.existing) {
        (BulkActionType::Create, Existing::Skip | Existing::Overwrite) => {
            orch_store::kept::get(&mut tx, K::TABLE, &name).await?.is_some()
        }
        _ => false,
    };
    let mut dropped = Vec::new();
    match action.kind {
        BulkActionType::Delete => kept::remove::<K>(&mut tx, actor, &name).await?,
        BulkActionType::Create if is_there && action.existing == Existing::Skip => return Ok(None),
        BulkActionType::Create if !is_there => drop(kept::add::<K>(app, &mut tx, actor, sent).await?),
        BulkActionType::Create | BulkActionType::Update => {
            (_, dropped) = kept::change::<K>(app, &mut tx, actor, sent).await?;
        }
    }
    tx.commit().await.map_err(StoreError::from)?;
    let dropped = dropped.iter().map(|secret| format!("{name}: {secret}")).collect();
    Ok(Some((name, dropped)))
}

impl BulkResponse {
    /// Records the outcome of an entity: its key and the dropped secrets, or the error. After a server error no further
    /// entity is tried. The response then contains what is committed; if nothing is, the whole request fails.
    fn note<E>(
        &mut self,
        action: &Action<E>,
        done: Result<(String, Vec<String>), Refusal>,
    ) -> Result<ControlFlow<()>, Refusal> {
        let is_empty = [&self.create, &self.update, &self.delete].into_iter().flatten().all(|of| of.success.is_empty());
        let of = match action.kind {
            BulkActionType::Create => &mut self.create,
            BulkActionType::Update => &mut self.update,
            BulkActionType::Delete => &mut self.delete,
        };
        let of = of.get_or_insert_default();
        let refusal = match done {
            Ok((key, dropped)) => {
                of.dropped_secrets.extend(dropped);
                if !of.success.contains(&key) {
                    of.success.push(key);
                }
                return Ok(ControlFlow::Continue(()));
            }
            Err(refusal) => refusal,
        };
        let is_of_the_server = matches!(refusal, Refusal::Store(_) | Refusal::Broken(_));
        if is_of_the_server && is_empty {
            return Err(refusal);
        }
        let mut words = refusal.words();
        if is_of_the_server {
            tracing::error!(error = %chain(&refusal).escape_debug(), "a bulk request ended early");
            words = format!("{words}; this entity and those after it were not changed");
        }
        let status = refusal.into_response().status();
        if status != StatusCode::NOT_FOUND || !action.skips {
            let error = [("error", json!(words)), ("status_code", json!(status.as_u16()))];
            of.errors.push(error.map(|(name, value)| (name.to_string(), value)).into_iter().collect());
        }
        Ok(if is_of_the_server { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Adds an empty result, so that the response contains every requested action.
    fn begin<E>(&mut self, action: &Action<E>) {
        let of = match action.kind {
            BulkActionType::Create => &mut self.create,
            BulkActionType::Update => &mut self.update,
            BulkActionType::Delete => &mut self.delete,
        };
        of.get_or_insert_default();
    }
}

/// Returns the name in the entity, or the name in the path if the entity has none. Rejects contradicting names.
pub(super) fn named(noun: &str, path: &str, own: Option<&str>) -> Result<String, Refusal> {
    match own {
        None if path == "~" => Err(Refusal::bad_request(format!("with `~` in the path each entity names its {noun}"))),
        None => Ok(path.into()),
        Some(own) if path == "~" || own == path => Ok(own.into()),
        Some(own) => {
            let own = own.chars().take(250).collect::<String>().escape_debug().to_string();
            Err(Refusal::bad_request(format!("{noun} `{own}` of an entity is not `{path}` of the path")))
        }
    }
}
