//! Events of assets: what updated them, and what came of it.

use super::no_such_asset;
use crate::api::list::asked;
use crate::extract::{Actor, JsonBody, Names, Query, no_such_run};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::asset::{AssetEvent, valid_name};
use orch_store::StoreError;
use orch_store::asset::{EVENTS, EventRow, NewEvent, TriggeredRun, add_event, event_by, get_asset, runs_of_events};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::list::{Found, Search};
use orch_store::run::get_run;
use orch_wire::Problem;
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

/// Airflow's bound.
const MOST_KEY_CHARS: usize = 250;
/// Events of one run in one answer.
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
    let Found { rows, total: total_entries } = EVENTS.find(&mut db, &search).await?;
    Ok(Json(EventPage { asset_events: views(&mut db, rows).await?, total_entries }))
}

/// Those that began a run.
pub(crate) async fn upstream(State(app): State<App>, names: Names) -> Result<Json<EventPage>, Refusal> {
    let path = names.run()?;
    let mut db = app.pages().await?;
    let run = get_run(&mut db, &path.dag_id, &path.run_id).await?;
    let run = run.ok_or_else(|| no_such_run(&path.dag_id, &path.run_id))?;
    let search = Search::default().and(event_by::CONSUMED_BY.is(run.id)).page(0, MOST_OF_RUN);
    let Found { rows, total: total_entries } = EVENTS.find(&mut db, &search).await?;
    Ok(Json(EventPage { asset_events: views(&mut db, rows).await?, total_entries }))
}

/// Somebody outside updated an asset.
pub(crate) async fn create(State(app): State<App>, actor: Actor, body: JsonBody) -> Result<Json<EventView>, Refusal> {
    let mut fields = body.fields();
    let asset = fields.required_checked("asset_id", |value| {
        let number = orch_wire::fields::integer(value);
        number.ok_or_else(|| Problem::new("int_type", "Input should be a valid integer").with_input(value))
    });
    let partition_key = partition_key(&mut fields);
    let mut extra = fields.object("extra").unwrap_or_default();
    // Teams are not known here, so nobody can be left out.
    fields.object("access_control");
    let event = AssetEvent::of("asset").extra(Value::Object(extra.clone()));
    if let Some(problem) = event.problem() {
        fields.refuse(Problem::value(problem));
    }
    fields.finish()?;
    let id = i32::try_from(asset).unwrap_or(-1);
    // As Airflow marks them.
    extra.insert("from_rest_api".into(), true.into());
    let mut db = app.pages().await?;
    let new = NewEvent { asset: id, partition_key, extra: Value::Object(extra) };
    let event = say(&app, &mut db, &actor, &new).await?.ok_or_else(|| no_such_asset(asset))?;
    let row = EVENTS.first(&mut db, &Search::default().and(event_by::ID.is(event))).await?;
    let view = views(&mut db, row.into_iter().collect()).await?.pop();
    view.map(Json).ok_or_else(|| Refusal::Broken(format!("event {event} is gone")))
}

/// Writes an event down, and who said it; schedulers hear of it. None: there is no such asset.
pub(crate) async fn say(
    app: &App,
    db: &mut PgConnection,
    actor: &Actor,
    new: &NewEvent,
) -> Result<Option<i64>, Refusal> {
    let Some(asset) = get_asset(db, new.asset).await? else { return Ok(None) };
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    let event = add_event(&mut tx, new).await?;
    let extra = json!({ "asset": asset.uri, "partition_key": new.partition_key });
    let deed = Deed { event: "create_asset_event", extra: Some(extra), ..Deed::default() };
    actor.did(&mut tx, deed).await?;
    tx.commit().await.map_err(StoreError::from)?;
    app.hints.give(Hint::Asset);
    Ok(event)
}

/// A partition key of a body, as Airflow bounds it.
pub(crate) fn partition_key(fields: &mut crate::extract::Fields) -> Option<String> {
    let key = fields.text("partition_key")?;
    if !valid_name(&key) || key.chars().count() > MOST_KEY_CHARS {
        let text = format!("partition_key: 1 to {MOST_KEY_CHARS} characters that can be seen");
        fields.refuse(Problem::value(text));
    }
    Some(key)
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
        // Of an asset that nobody knew a moment ago.
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

/// Airflow's shape has no place for rows of their own.
fn with_rows(extra: Option<Value>, rows: Option<i64>) -> Value {
    let mut extra = extra.unwrap_or_else(|| json!({}));
    if let (Some(rows), Some(words)) = (rows, extra.as_object_mut()) {
        words.entry("rows").or_insert(rows.into());
    }
    extra
}
