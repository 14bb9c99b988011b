//! `/api/orch/v1/dags/{dag_id}/presets`: named sets of params.

use super::dags::find;
use super::list::asked;
use crate::extract::{Actor, DagPath, Names, Query, Typed};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_deeds::preset;
use orch_store::StoreError;
use orch_store::list::{ListPage, Search};
use orch_store::locks::Locks;
use orch_store::preset::{KeepPreset, MOST_PRESETS, PRESETS, Preset, by, wrong_name};
use orch_wire::body;
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{Connection, PgConnection};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PresetView {
    name: String,
    conf: Value,
    created_by: Option<String>,
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PresetPage {
    presets: Vec<PresetView>,
    total_entries: i64,
}

impl From<Preset> for PresetView {
    fn from(preset: Preset) -> PresetView {
        let Preset { name, conf, created_by, updated_at } = preset;
        PresetView { name, conf, created_by, updated_at: Timestamp(updated_at) }
    }
}

pub(crate) async fn list(
    State(app): State<App>,
    DagPath(dag_id): DagPath,
    mut query: Query,
) -> Result<Json<PresetPage>, Refusal> {
    let search = asked(&mut query, PRESETS.columns)?;
    let mut db = app.pages().await?;
    let search = search.and(by::DAG_ID.is(find(&mut db, &dag_id).await?.dag_id));
    let ListPage { rows, total: total_entries } = PRESETS.find(&mut db, &search).await?;
    Ok(Json(PresetPage { presets: rows.into_iter().map(Into::into).collect(), total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<PresetView>, Refusal> {
    let mut db = app.pages().await?;
    let (dag, name) = (find(&mut db, &names.dag()?).await?, names.get("preset_name"));
    Ok(Json(named(&mut db, &dag.dag_id, name).await?.into()))
}

body! {
    pub(crate) struct PresetBody {
        conf: Option<Map<String, Value>>,
    }
}

pub(crate) async fn put(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    Typed(PresetBody { conf }): Typed<PresetBody>,
) -> Result<Json<PresetView>, Refusal> {
    let mut db = app.pages().await?;
    let (dag, name) = (find(&mut db, &names.dag()?).await?, names.get("preset_name"));
    keep(&mut db, &actor, (&dag.dag_id, name), &Value::Object(conf.unwrap_or_default())).await?;
    Ok(Json(named(&mut db, &dag.dag_id, name).await?.into()))
}

pub(crate) async fn delete(State(app): State<App>, actor: Actor, names: Names) -> Result<StatusCode, Refusal> {
    let mut db = app.pages().await?;
    let dag = find(&mut db, &names.dag()?).await?;
    forget(&mut db, &actor, (&dag.dag_id, names.get("preset_name"))).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn named(db: &mut PgConnection, dag_id: &str, name: &str) -> Result<Preset, Refusal> {
    let search = Search::default().and(by::DAG_ID.is(dag_id)).and(by::NAME.is(name));
    PRESETS.first(db, &search).await?.ok_or_else(|| missing(dag_id, name))
}

fn missing(dag_id: &str, name: &str) -> Refusal {
    let name = name.chars().take(100).collect::<String>().escape_debug().to_string();
    Refusal::not_found(format!("dag `{dag_id}` has no preset `{name}`"))
}

pub(crate) async fn keep(
    db: &mut PgConnection,
    actor: &Actor,
    (dag_id, name): (&str, &str),
    conf: &Value,
) -> Result<(), Refusal> {
    let refused = |text: String| Err(Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text));
    if let Some(why) = wrong_name(name) {
        return refused(why.into());
    }
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    match preset::keep(&mut tx, &Locks::begin(), actor, (dag_id, name), conf).await? {
        KeepPreset::Kept => Ok(tx.commit().await.map_err(StoreError::from)?),
        KeepPreset::NoSuchDag => Err(crate::extract::no_such_dag(dag_id)),
        KeepPreset::TooMany => refused(format!("a dag has at most {MOST_PRESETS} presets: delete one first")),
    }
}

pub(crate) async fn forget(db: &mut PgConnection, actor: &Actor, (dag_id, name): (&str, &str)) -> Result<(), Refusal> {
    let mut tx = db.begin().await.map_err(StoreError::from)?;
    if !preset::delete(&mut tx, actor, (dag_id, name)).await? {
        return Err(missing(dag_id, name));
    }
    Ok(tx.commit().await.map_err(StoreError::from)?)
}
