//! The audit log, which records the actions of users. An action that has a transaction writes its row in that
//! transaction.

mod search;

pub use search::{AUDIT, by, newest};

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::PgConnection;

/// An action of a user.
#[derive(Debug, Clone, Default)]
pub struct Deed<'a> {
    pub actor: &'a str,
    /// Name of the action, such as `trigger_dag_run`, `pause_dag` or `cancel_run`.
    pub event: &'a str,
    pub dag_id: Option<&'a str>,
    pub run_id: Option<&'a str>,
    pub task_id: Option<&'a str>,
    pub map_index: Option<i32>,
    pub extra: Option<Value>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct AuditRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub event: String,
    pub dag_id: Option<String>,
    pub run_id: Option<String>,
    pub task_id: Option<String>,
    pub map_index: Option<i32>,
    pub extra: Option<Value>,
}

#[boxed]
pub async fn record(db: &mut PgConnection, deed: &Deed<'_>) -> StoreResult<()> {
    sqlx::query!(
        "insert into audit (actor, event, dag_id, run_id, task_id, map_index, extra) values ($1, $2, $3, $4, $5, $6, $7::text::json)",
        deed.actor,
        deed.event,
        deed.dag_id,
        deed.run_id,
        deed.task_id,
        deed.map_index,
        deed.extra.as_ref().map(ToString::to_string)
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Records many actions in one statement.
#[boxed]
pub async fn record_all(db: &mut PgConnection, deeds: &[Deed<'_>]) -> StoreResult<()> {
    sqlx::query(
        "insert into audit (actor, event, dag_id, run_id, task_id, map_index, extra)
        select actor, event, dag_id, run_id, task_id, map_index, extra::json
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::text[])
          with ordinality as d (actor, event, dag_id, run_id, task_id, map_index, extra, place) order by place",
    )
    .bind(deeds.iter().map(|deed| deed.actor).collect::<Vec<_>>())
    .bind(deeds.iter().map(|deed| deed.event).collect::<Vec<_>>())
    .bind(deeds.iter().map(|deed| deed.dag_id).collect::<Vec<_>>())
    .bind(deeds.iter().map(|deed| deed.run_id).collect::<Vec<_>>())
    .bind(deeds.iter().map(|deed| deed.task_id).collect::<Vec<_>>())
    .bind(deeds.iter().map(|deed| deed.map_index).collect::<Vec<_>>())
    .bind(deeds.iter().map(|deed| deed.extra.as_ref().map(ToString::to_string)).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Actions that end runs or instances.
const ENDINGS: [&str; 6] =
    ["cancel_run", "cancel_dag_run", "mark_run", "mark_dag_run", "mark_task_instance", "time_out_dag_run"];
/// Maximum number of a DAG's newest actions that [`endings`] searches.
const LOOKED_BACK: i64 = 5_000;

/// For each of these runs (DAG id, run id), returns the last action that ended the run or made one of its instances
/// fail. If a task is given, only actions on that task or on the whole run count.
#[boxed]
pub async fn endings(
    db: &mut PgConnection,
    runs: &[(String, String)],
    task_id: Option<&str>,
) -> StoreResult<Vec<AuditRow>> {
    let (dags, ids): (Vec<String>, Vec<String>) = runs.iter().cloned().unzip();
    let rows = sqlx::query_as!(
        AuditRow,
        r#"select a.id as "id!", a.at as "at!", a.actor as "actor!", a.event as "event!", a.dag_id, a.run_id, a.task_id,
          a.map_index, a.extra
        from unnest($1::text[], $2::text[]) as w (dag_id, run_id), lateral (
          select * from (select * from audit where audit.dag_id = w.dag_id order by id desc limit $5) last
          where last.run_id = w.run_id and last.event = any($3)
            and ($4::text is null or last.task_id is null or last.task_id = $4)
            and (last.event <> 'mark_task_instance' or last.extra->>'state' = 'failed')
          order by id desc limit 1) a"#,
        &dags,
        &ids,
        &ENDINGS.map(String::from),
        task_id,
        LOOKED_BACK
    );
    Ok(rows.fetch_all(db).await?)
}
