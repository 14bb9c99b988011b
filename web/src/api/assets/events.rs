//! Asset events: the updates of assets, and the runs that they started.

use super::no_such_asset;
use crate::api::list::asked;
use crate::extract::{Actor, Names, Query, Typed, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::asset::{AssetEvent, valid_name};
use orch_store::asset::{EVENTS, EventRow, NewEvent, TriggeredRun, event_by, runs_of_events};
use orch_store::list::{ListPage, Search};
use orch_store::run::get_run;
use orch_wire::fields::text;
use orch_wire::timestamp::{Timestamp, stamp};
use orch_wire::{Problem, body, field_type};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

const PARTITION_KEY: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";
/// The same limit as in Airflow.
const MOST_KEY_CHARS: usize = 250;
/// Maximum number of events of one run in a response.
const MOST_OF_RUN: i64 = 1_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventPage {
    asset_events: Vec<EventView>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct EventView {
    id: i64,
    asset_id: i32,
    uri: Option<String>,
    name: Option<String>,
    group: Option<String>,
    extra: Option<Value>,
    source_task_id: Option<String>,
    source_dag_id: Option<String>,
    source_run_id: Option<String>,
    source_map_index: i32,
    created_dagruns: Vec<CreatedRun>,
    timestamp: Timestamp,
    partition_key: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CreatedRun {
    run_id: String,
    dag_id: String,
    logical_date: Option<Timestamp>,
    /// Of a run that has not begun: from when it may.
    start_date: Timestamp,
    end_date: Option<Timestamp>,
    state: String,
    data_interval_start: Option<Timestamp>,
    data_interval_end: Option<Timestamp>,
    partition_key: Option<String>,
    triggering: bool,
}

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<EventPage>, Refusal> {
    let search = asked(&mut query, EVENTS.columns)?;
    let mut db = app.pages().await?;
    let ListPage { rows, total: total_entries } = EVENTS.find(&mut db, &search).await?;
    Ok(Json(EventPage { asset_events: views(&mut db, rows).await?, total_entries }))
}

/// Lists the asset events that started a run.
pub(crate) async fn upstream(State(app): State<App>, names: Names) -> Result<Json<EventPage>, Refusal> {
    let path = names.run()?;
    let mut db = app.pages().await?;
    let run = get_run(&mut db, &path.dag_id, &path.run_id).await?;
    let run = run.ok_or_else(|| no_such_run(&path.dag_id, &path.run_id))?;
    let search = Search::default().and(event_by::CONSUMED_BY.is(run.id)).page(0, MOST_OF_RUN);
    let ListPage { rows, total: total_entries } = EVENTS.find(&mut db, &search).await?;
    Ok(Json(EventPage { asset_events: views(&mut db, rows).await?, total_entries }))
}

field_type! {
    pub(crate) struct PartitionKey(String); |value| {
        let key = text(value)?;
        if !valid_name(&key) || key.chars().count() > MOST_KEY_CHARS {
            return Err(Problem::value(format!("partition_key: 1 to {MOST_KEY_CHARS} characters that can be seen")));
        }
        Ok(key)
    };
    { "type": "string", "maxLength": MOST_KEY_CHARS, "pattern": PARTITION_KEY }
}

field_type! {
    struct Extra(Map<String, Value>); |value: &Value| {
        let extra = value.as_object().cloned();
        let extra = extra.ok_or_else(|| Problem::new("dict_type", "Input should be a valid dictionary").with_input(value))?;
        let problem = AssetEvent::of("asset").extra(Value::Object(extra.clone())).problem();
        problem.map_or(Ok(extra), |problem| Err(Problem::value(problem)))
    };
    { "type": "object", "additionalProperties": true }
}

body! {
    pub(crate) struct CreateAssetEventsBody {
        asset_id: i64,
        partition_key: Option<PartitionKey>,
        extra: Option<Extra>,
        /// Accepted and ignored: orch has no teams.
        access_control: Option<Map<String, Value>>,
    }
}

/// Creates an asset event for an update that was not made by a task of orch.
pub(crate) async fn create(
    State(app): State<App>,
    actor: Actor,
    Typed(body): Typed<CreateAssetEventsBody>,
) -> Result<Json<EventView>, Refusal> {
    let CreateAssetEventsBody { asset_id: asset, partition_key, extra, access_control: _ } = body;
    let (partition_key, mut extra) = (partition_key.map(|key| key.0), extra.map(|extra| extra.0).unwrap_or_default());
    let id = i32::try_from(asset).unwrap_or(-1);
    // Airflow marks its events in the same way.
    extra.insert("from_rest_api".into(), true.into());
    let new = NewEvent { asset: id, partition_key, extra: Value::Object(extra) };
    let event = add_update(&app, &actor, &new).await?.ok_or_else(|| no_such_asset(asset))?;
    let mut db = app.pages().await?;
    let row = EVENTS.first(&mut db, &Search::default().and(event_by::ID.is(event))).await?;
    let view = views(&mut db, row.into_iter().collect()).await?.pop();
    view.map(Json).ok_or_else(|| Refusal::Broken(format!("event {event} is gone")))
}

/// Adds an asset event and notifies the schedulers. Returns `None` if the asset does not exist.
pub(crate) async fn add_update(app: &App, actor: &Actor, new: &NewEvent) -> Result<Option<i64>, Refusal> {
    let event = app.in_transaction(async |tx| Ok(orch_deeds::asset::add_update(tx, actor, new).await?)).await?;
    app.hints.give(orch_deeds::asset::UPDATED);
    Ok(event)
}

async fn views(db: &mut PgConnection, rows: Vec<EventRow>) -> Result<Vec<EventView>, Refusal> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let runs = runs_of_events(db, &ids).await?;
    Ok(rows.into_iter().map(|row| view(row, &runs)).collect())
}

fn view(row: EventRow, runs: &[TriggeredRun]) -> EventView {
    let mine = runs.iter().filter(|run| run.event == row.id).map(|run| CreatedRun {
        run_id: run.run_id.clone(),
        dag_id: run.dag_id.clone(),
        logical_date: stamp(run.logical_date),
        start_date: Timestamp(run.started_at.unwrap_or(run.run_after)),
        end_date: stamp(run.ended_at),
        state: run.state.to_string(),
        data_interval_start: stamp(run.interval_start),
        data_interval_end: stamp(run.interval_end),
        partition_key: run.partition_key.clone(),
        triggering: run.triggering,
    });
    EventView {
        created_dagruns: mine.collect(),
        id: row.id,
        // The asset may not have been registered yet.
        asset_id: row.asset.unwrap_or(0),
        name: row.name,
        uri: Some(row.uri),
        group: row.group_name,
        extra: Some(with_rows(row.extra, row.rows)),
        source_task_id: row.source_task_id,
        source_dag_id: row.source_dag_id,
        source_run_id: row.source_run_id,
        source_map_index: row.source_map_index,
        timestamp: Timestamp(row.at),
        partition_key: row.partition_key,
    }
}

/// Adds the row count to the extra, because Airflow's event has no field for it.
fn with_rows(extra: Option<Value>, rows: Option<i64>) -> Value {
    let mut extra = extra.unwrap_or_else(|| json!({}));
    if let (Some(rows), Some(words)) = (rows, extra.as_object_mut()) {
        words.entry("rows").or_insert(rows.into());
    }
    extra
}
