//! Presets: named sets of params of a DAG.

use crate::{Actor, boxed};
use orch_store::StoreResult;
use orch_store::audit::Deed;
use orch_store::locks::{Dags, Locks};
use orch_store::preset::{KeepPreset, delete_preset, keep_preset};
use serde_json::{Value, json};
use sqlx::PgConnection;

#[boxed]
pub async fn keep(
    tx: &mut PgConnection,
    locks: &Locks<Dags>,
    actor: &Actor,
    (dag_id, name): (&str, &str),
    conf: &Value,
) -> StoreResult<KeepPreset> {
    let kept = keep_preset(tx, locks, (dag_id, name), conf, &actor.name).await?;
    if kept == KeepPreset::Kept {
        actor.did(tx, deed("keep_preset", dag_id, name)).await?;
    }
    Ok(kept)
}

/// Returns `false` if the DAG has no preset with this name.
#[boxed]
pub async fn delete(tx: &mut PgConnection, actor: &Actor, (dag_id, name): (&str, &str)) -> StoreResult<bool> {
    let was_there = delete_preset(tx, dag_id, name).await?;
    if was_there {
        actor.did(tx, deed("delete_preset", dag_id, name)).await?;
    }
    Ok(was_there)
}

fn deed<'a>(event: &'a str, dag_id: &'a str, name: &str) -> Deed<'a> {
    Deed { event, dag_id: Some(dag_id), extra: Some(json!({ "preset": name })), ..Deed::default() }
}
