//! Pools that come, change and go.

use super::{PoolView, no_such_pool};
use crate::extract::{Actor, Fields, JsonBody, Names, Query, shown};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_core::gates::{DEFAULT_POOL, MOST_POOL_NAME, check_pool_name};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::part::Becomes;
use orch_store::pool::{DeletePool, NewPool, PoolRow, create_pool, delete_pool, get_pool, set_pool};
use orch_wire::Problem;
use orch_wire::fields::{integer, text};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Airflow's `PoolBody`: the name, and the parts that stood there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) slots: Option<i32>,
    pub(crate) description: Option<Becomes<String>>,
    pub(crate) include_deferred: Option<bool>,
}

impl Sent {
    /// `masked`: only these parts count; empty: all.
    pub(super) fn read(fields: &mut Fields, masked: &[&str]) -> Sent {
        let name = fields.required_checked("name", name);
        let slots = Some(fields.required_checked("slots", slots));
        Sent { name, slots, ..Sent::default() }.with(fields, masked)
    }

    /// Of one that is deleted only its name has to be there.
    pub(super) fn read_named(fields: &mut Fields) -> Sent {
        let name = fields.required_text("name");
        let slots = fields.checked("slots", slots);
        Sent { name, slots, ..Sent::default() }.with(fields, &[])
    }

    /// Airflow's `PoolPatchBody`; its `pool` is the name.
    fn read_parts(fields: &mut Fields, path: &str, masked: &[&str]) -> Sent {
        let named = fields.text("pool");
        if named.as_ref().is_some_and(|named| named != path) {
            fields.refuse(Problem::value("pool: the name of a pool stays as it is"));
        }
        let slots = fields.checked("slots", |value| if value.is_null() { Ok(None) } else { slots(value).map(Some) });
        Sent { name: path.into(), slots: slots.flatten(), ..Sent::default() }.with(fields, masked)
    }

    fn with(mut self, fields: &mut Fields, masked: &[&str]) -> Sent {
        let counts = |name: &str| masked.is_empty() || masked.contains(&name);
        let has_description = fields.has("description");
        let description = fields.text("description");
        let include_deferred = fields.flag("include_deferred");
        if fields.text("team_name").is_some() {
            let why = "team_name cannot be set when multi_team mode is disabled. Please contact your administrator.";
            fields.refuse(Problem::value(why));
        }
        self.slots = self.slots.filter(|_| counts("slots"));
        self.description = (has_description && counts("description")).then_some(Becomes(description));
        self.include_deferred = include_deferred.filter(|_| counts("include_deferred"));
        self
    }
}

fn name(value: &Value) -> Result<String, Problem> {
    let name = text(value)?;
    if name.chars().count() > MOST_POOL_NAME {
        let msg = format!("String should have at most {MOST_POOL_NAME} characters");
        return Err(Problem::new("string_too_long", msg).with_ctx(json!({ "max_length": MOST_POOL_NAME })));
    }
    check_pool_name(&name).map_err(Problem::value)?;
    Ok(name)
}

fn slots(value: &Value) -> Result<i32, Problem> {
    let slots = integer(value).ok_or_else(|| Problem::new("int_type", "Input should be a valid integer"))?;
    if slots < -1 {
        let problem = Problem::new("greater_than_equal", "Input should be greater than or equal to -1");
        return Err(problem.with_ctx(json!({ "ge": -1 })));
    }
    i32::try_from(slots).map_err(|_| {
        let msg = format!("Input should be less than or equal to {}", i32::MAX);
        Problem::new("less_than_equal", msg).with_ctx(json!({ "le": i32::MAX }))
    })
}

pub(crate) async fn create(
    State(app): State<App>,
    actor: Actor,
    body: JsonBody,
) -> Result<(StatusCode, Json<PoolView>), Refusal> {
    let mut fields = body.fields();
    let sent = Sent::read(&mut fields, &[]);
    fields.finish()?;
    let row = in_transaction(&app, async |tx| add(tx, &actor, &sent).await).await?;
    Ok((StatusCode::CREATED, Json(row.into())))
}

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    query: Query,
    body: JsonBody,
) -> Result<Json<PoolView>, Refusal> {
    let mut fields = body.fields();
    let mask: Vec<&str> = query.all("update_mask").collect();
    let sent = Sent::read_parts(&mut fields, names.get("pool_name"), &mask);
    fields.finish()?;
    let row = in_transaction(&app, async |tx| update(tx, &actor, &sent).await).await?;
    Ok(Json(row.into()))
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    in_transaction(&app, async |tx| remove(tx, &actor, names.get("pool_name")).await).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// There may be room afterwards: schedulers look.
pub(crate) async fn in_transaction<T>(
    app: &App,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let done = app.in_transaction(work).await?;
    app.hints.give(Hint::Due);
    Ok(done)
}

/// In a transaction of the caller, as all that follow.
pub(crate) async fn add(tx: &mut PgConnection, actor: &Actor, sent: &Sent) -> Result<PoolRow, Refusal> {
    let new = NewPool {
        name: sent.name.clone(),
        slots: sent.slots.unwrap_or_default(),
        description: sent.description.clone().and_then(|Becomes(text)| text),
        include_deferred: sent.include_deferred.unwrap_or(false),
    };
    if !create_pool(tx, &new).await? {
        return Err(Refusal::Taken(format!("there is a pool `{}` already", shown(&new.name))));
    }
    actor.did(tx, deed("add_pool", &new)).await?;
    get_pool(tx, &new.name).await?.ok_or_else(|| no_such_pool(&new.name))
}

pub(crate) async fn update(tx: &mut PgConnection, actor: &Actor, sent: &Sent) -> Result<PoolRow, Refusal> {
    let old = get_pool(tx, &sent.name).await?.ok_or_else(|| no_such_pool(&sent.name))?;
    if old.name == DEFAULT_POOL && sent.description.as_ref().is_some_and(|new| new.0 != old.description) {
        return Err(Refusal::bad_request("Only slots and included_deferred can be modified on Default Pool"));
    }
    let new = NewPool {
        slots: sent.slots.unwrap_or(old.slots),
        description: sent.description.clone().map_or(old.description, |Becomes(text)| text),
        include_deferred: sent.include_deferred.unwrap_or(old.include_deferred),
        name: old.name,
    };
    set_pool(tx, &new).await?;
    actor.did(tx, deed("change_pool", &new)).await?;
    get_pool(tx, &new.name).await?.ok_or_else(|| no_such_pool(&new.name))
}

pub(crate) async fn remove(tx: &mut PgConnection, actor: &Actor, name: &str) -> Result<(), Refusal> {
    match delete_pool(tx, name).await? {
        DeletePool::Deleted => {}
        DeletePool::NoSuchPool => return Err(no_such_pool(name)),
        DeletePool::Default => return Err(Refusal::bad_request("Default Pool can't be deleted")),
    }
    let extra = Some(json!({ "name": name }));
    Ok(actor.did(tx, Deed { event: "delete_pool", extra, ..Deed::default() }).await?)
}

fn deed<'a>(event: &'a str, pool: &NewPool) -> Deed<'a> {
    let extra = json!({ "name": pool.name, "slots": pool.slots, "include_deferred": pool.include_deferred });
    Deed { event, extra: Some(extra), ..Deed::default() }
}
