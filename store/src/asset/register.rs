//! Stores which assets the DAGs of a bundle use. Runs in the transaction that registers the bundle, and under its lock.

use crate::StoreResult;
use crate::registry::Registered;
use orch_spec::{AssetRef, AssetRole, DagSpec};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use std::sync::Arc;

/// Replaces the asset uses of these DAGs. `dags` and `registered` have the same order. If the newest version of a DAG
/// is a different one, the DAG keeps the uses of that version.
pub(crate) async fn put_uses(
    db: &mut PgConnection,
    dags: &[Arc<DagSpec>],
    registered: &[Registered],
) -> StoreResult<()> {
    let uses: Vec<Value> =
        dags.iter().zip(registered).flat_map(|(dag, version)| uses_of(dag, version.version_id)).collect();
    let versions: Vec<i32> = registered.iter().map(|version| version.version_id).collect();
    let known = sqlx::query_scalar!(
        r#"select exists (select from dag d join asset_use u on u.dag_id = d.dag_id where d.version = any($1)) as "known!""#,
        &versions
    );
    if uses.is_empty() && !known.fetch_one(&mut *db).await? {
        return Ok(());
    }
    let uses = Value::Array(uses).to_string();
    // Sorted, as in all statements that insert several assets, to avoid deadlocks.
    sqlx::query!(
        "insert into asset (uri, name) select distinct u.uri, u.uri from json_to_recordset($1::text::json) as u (uri text)
        where u.uri is not null order by u.uri on conflict (uri) do nothing",
        uses
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "insert into asset_alias (name) select distinct u.alias from json_to_recordset($1::text::json) as u (alias text)
        where u.alias is not null order by u.alias on conflict (name) do nothing",
        uses
    )
    .execute(&mut *db)
    .await?;
    sqlx::query_file!("queries/asset/put_uses.sql", uses, &versions).execute(&mut *db).await?;
    sqlx::query_file!("queries/asset/describe.sql", &versions).execute(&mut *db).await?;
    sqlx::query_file!("queries/asset/requeue.sql", &versions).execute(db).await?;
    Ok(())
}

fn uses_of(dag: &DagSpec, version: i32) -> Vec<Value> {
    let of = |(role, task_id, asset): (AssetRole, &str, AssetRef)| match asset {
        AssetRef::Alias(alias) => json!({ "version": version, "role": role, "task_id": task_id, "alias": alias }),
        AssetRef::Asset(asset) => {
            let mut declared = json!({});
            let words = [
                ("name", asset.name.map(Value::from)),
                ("group", asset.group.map(Value::from)),
                ("extra", asset.extra.map(Value::from)),
                ("fresh_within_ms", asset.fresh_within_ms.map(Value::from)),
            ];
            words.into_iter().for_each(|(word, value)| value.into_iter().for_each(|value| declared[word] = value));
            let declared = Some(declared).filter(|words| words != &json!({}));
            let uri = asset.uri;
            json!({ "version": version, "role": role, "task_id": task_id, "uri": uri, "declared": declared })
        }
    };
    dag.asset_mentions().map(of).collect()
}
