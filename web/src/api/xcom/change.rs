//! Creating, changing and deleting outputs by users. A list over which other tasks are mapped cannot be changed,
//! because its length was already counted; users clear its task instead.

use super::{XComValue, of_one, view};
use crate::api::task_instances::{ElementParams, Instance, one_instance};
use crate::extract::{Actor, Names, Query, Typed, escape_id};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_deeds::output::{self, OutputOf};
use orch_store::output::{OUTPUTS, RETURN_VALUE};
use orch_wire::body;
use orch_wire::body::TextOf;
use serde_json::Value;

/// The same limit as in Airflow.
const MOST_KEY_CHARS: usize = 512;

body! {
    pub(crate) struct XComCreateBody {
        key: TextOf<1, MOST_KEY_CHARS>,
        value: Value,
        map_index: Option<i32>,
    }
}

body! {
    pub(crate) struct XComUpdateBody {
        value: Value,
        map_index: Option<i32>,
    }
}

pub(crate) async fn create(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(body): Typed<XComCreateBody>,
) -> Result<(StatusCode, Json<XComValue>), Refusal> {
    let XComCreateBody { key: TextOf(key), value, map_index } = body;
    let instance = one_instance(&app, names.task()?, map_index.unwrap_or(-1)).await?;
    free(&instance, &key)?;
    let of = of(&instance, &key);
    if !app.in_transaction(async |tx| Ok(output::create(tx, &actor, &of, &value).await?)).await? {
        let text = format!("The XCom with key: `{}` already exists: change it with PATCH", escape_id(&key));
        return Err(Refusal::plain(StatusCode::CONFLICT, text));
    }
    Ok((StatusCode::CREATED, Json(read_xcom_entry(&app, &instance, key, value).await?)))
}

pub(crate) async fn patch(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(XComUpdateBody { value, map_index }): Typed<XComUpdateBody>,
) -> Result<Json<XComValue>, Refusal> {
    let key = names.get("xcom_key");
    let instance = one_instance(&app, names.task()?, map_index.unwrap_or(-1)).await?;
    free(&instance, key)?;
    let of = of(&instance, key);
    if !app.in_transaction(async |tx| Ok(output::change(tx, &actor, &of, &value).await?)).await? {
        return Err(missing(key));
    }
    Ok(Json(read_xcom_entry(&app, &instance, key.into(), value).await?))
}

pub(crate) async fn delete(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    mut query: Query,
) -> Result<StatusCode, Refusal> {
    let element: ElementParams = query.whole()?;
    let key = names.get("xcom_key");
    let map_index = element.index().ok_or_else(|| missing(key))?;
    let instance = one_instance(&app, names.task()?, map_index).await?;
    free(&instance, key)?;
    let of = of(&instance, key);
    let gone = app.in_transaction(async |tx| Ok(output::delete(tx, &actor, &of).await?)).await?;
    if gone { Ok(StatusCode::NO_CONTENT) } else { Err(missing(key)) }
}

/// Rejects a change of an output over which tasks are mapped.
fn free(instance: &Instance, key: &str) -> Result<(), Refusal> {
    let mapped_over = instance.version.plan.list_slots.contains_key(&instance.row.task);
    if key != RETURN_VALUE || !mapped_over {
        return Ok(());
    }
    let text = format!(
        "tasks are mapped over what `{}` gave: its elements are counted, so it stays as it is: clear the task to make it \
        give another list",
        instance.row.task_id
    );
    Err(Refusal::plain(StatusCode::CONFLICT, text))
}

fn of<'a>(instance: &'a Instance, key: &'a str) -> OutputOf<'a> {
    let row = &instance.row;
    OutputOf { run: &instance.run, task: row.task, task_id: &row.task_id, map_index: row.map_index, key }
}

async fn read_xcom_entry(app: &App, instance: &Instance, key: String, value: Value) -> Result<XComValue, Refusal> {
    let (task, map_index) = (instance.row.task, instance.row.map_index);
    let row = OUTPUTS.first(&mut *app.pages().await?, &of_one(instance.run.id, task, map_index, &key)).await?;
    let row = row.ok_or_else(|| missing(&key))?;
    Ok(XComValue { entry: view(&instance.run, &instance.version.plan, row), value })
}

pub(super) fn missing(key: &str) -> Refusal {
    Refusal::not_found(format!("XCom entry with key: `{}` not found", escape_id(key)))
}
