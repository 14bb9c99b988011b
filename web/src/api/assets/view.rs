//! JSON shapes of assets, as in Airflow.

use crate::refusal::Refusal;
use orch_spec::AssetCondition;
use orch_store::asset::{AliasRow, AssetRow, UseRow, aliases_of, uses_of};
use orch_wire::timestamp::{Timestamp, stamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AssetPage {
    pub(super) assets: Vec<AssetView>,
    pub(super) total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AssetView {
    id: i32,
    name: String,
    uri: String,
    group: String,
    extra: Option<Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
    scheduled_dags: Vec<DagUse>,
    producing_tasks: Vec<TaskUse>,
    consuming_tasks: Vec<TaskUse>,
    aliases: Vec<AliasView>,
    /// Airflow's watchers are sensors here.
    watchers: [(); 0],
    last_asset_event: LastEvent,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DagUse {
    dag_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TaskUse {
    dag_id: String,
    task_id: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LastEvent {
    id: Option<i64>,
    timestamp: Option<Timestamp>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AliasPage {
    pub(super) asset_aliases: Vec<AliasView>,
    pub(super) total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AliasView {
    id: i32,
    name: String,
    group: String,
}

impl From<AliasRow> for AliasView {
    fn from(row: AliasRow) -> Self {
        AliasView { id: row.id, name: row.name, group: row.group_name }
    }
}

/// Builds the views with a fixed number of statements, independent of the number of assets.
pub(super) async fn views(db: &mut PgConnection, rows: Vec<AssetRow>) -> Result<Vec<AssetView>, Refusal> {
    let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
    let (uses, aliases) = (uses_of(db, &ids).await?, aliases_of(db, &ids).await?);
    Ok(rows.into_iter().map(|row| view(row, &uses, &aliases)).collect())
}

fn view(row: AssetRow, uses: &[UseRow], aliases: &[(i32, AliasRow)]) -> AssetView {
    let mine = |role: &'static str| uses.iter().filter(move |u| u.asset == row.id && u.role == role);
    let task = |u: &UseRow| TaskUse {
        dag_id: u.dag_id.clone(),
        task_id: u.task_id.clone(),
        created_at: Timestamp(u.created_at),
        updated_at: Timestamp(u.updated_at),
    };
    let scheduled = mine("schedule").map(|u| DagUse {
        dag_id: u.dag_id.clone(),
        created_at: Timestamp(u.created_at),
        updated_at: Timestamp(u.updated_at),
    });
    AssetView {
        scheduled_dags: scheduled.collect(),
        producing_tasks: mine("outlet").map(task).collect(),
        consuming_tasks: mine("inlet").map(task).collect(),
        aliases: aliases.iter().filter(|(asset, _)| *asset == row.id).map(|(_, a)| a.clone().into()).collect(),
        watchers: [],
        last_asset_event: LastEvent { id: row.last_event, timestamp: stamp(row.last_event_at) },
        id: row.id,
        name: row.name,
        uri: row.uri,
        group: row.group_name,
        extra: Some(row.extra),
        created_at: Timestamp(row.created_at),
        updated_at: Timestamp(row.updated_at),
    }
}

/// Returns a condition in Airflow's format: `{"all": [{"asset": {…}}, {"alias": {…}}]}`.
pub(crate) fn expression(condition: &AssetCondition) -> Value {
    let parts = |parts: &[AssetCondition]| parts.iter().map(expression).collect::<Vec<_>>();
    match condition {
        AssetCondition::Asset(asset) => {
            json!({ "asset": { "uri": asset.uri, "name": asset.name(), "group": asset.group_name() } })
        }
        AssetCondition::Alias(name) => json!({ "alias": { "name": name, "group": "asset" } }),
        AssetCondition::All(all) => json!({ "all": parts(all) }),
        AssetCondition::Any(any) => json!({ "any": parts(any) }),
    }
}
