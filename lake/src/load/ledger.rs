//! Ledger of completed loads. It has one row per target table and idempotency key, in the schema of the target. The
//! row is written in the transaction of the load.

use super::Load;
use super::shared::{self, SharedTable};
use anyhow::bail;
use orch_sdk::task::{Ctx, TaskResult};
use tokio_postgres::Client;
use uuid::Uuid;

/// Idempotency key of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    key: String,
    fence: Option<(Uuid, i32)>,
}

impl Once {
    /// Creates an idempotency key. Does not fence off earlier attempts of a task.
    pub fn key(key: impl Into<String>) -> Once {
        Once { key: key.into(), fence: None }
    }

    /// Creates an idempotency key for the current attempt of a task.
    pub fn of(ctx: &Ctx) -> Once {
        let element = ctx.map_index().map_or(String::new(), |index| format!("[{index}]"));
        let key = format!("{}/{}/{}{element}", ctx.dag_id(), ctx.run_id(), ctx.task_id());
        Once { key, fence: Some((ctx.attempt(), ctx.this_try().lease_no)) }
    }
}

fn name(load: &Load) -> String {
    TABLE.name_in(&load.schema)
}

/// Returns the number of rows of an earlier load with the same key, or `None` if there was none. Takes no lock, so
/// callers must check again after they have locked the target.
pub(super) async fn find(load: &Load, db: &Client) -> TaskResult<Option<u64>> {
    let Some(once) = &load.once else { return Ok(None) };
    if !shared::is_there(&load.schema, TABLE.name, db).await? {
        return Ok(None);
    }
    let sql =
        format!("select attempt, lease_no::integer, rows from {} where target = $1 and load_key = $2", name(load));
    let Some(found) = db.query_opt(&sql, &[&load.table, &once.key]).await? else { return Ok(None) };
    let (attempt, lease_no, rows): (Option<Uuid>, Option<i32>, i64) = (found.get(0), found.get(1), found.get(2));
    match once.fence {
        None => Ok(Some(rows as u64)),
        Some((own, _)) if attempt != Some(own) => Ok(None),
        Some((_, own)) if lease_no.is_some_and(|theirs| theirs > own) => {
            bail!("`{}.{}` was loaded by the worker that took this task over", load.schema, load.table)
        }
        Some(_) => Ok(Some(rows as u64)),
    }
}

pub(super) const TABLE: SharedTable = SharedTable {
    name: "orch_load",
    columns: "target text not null, load_key text not null, attempt uuid, lease_no integer, rows bigint not null, \
              loaded_at timestamptz not null default now(), primary key (target, load_key)",
};

/// Records a completed load. The caller must hold the lock of the target table.
pub(super) async fn record(load: &Load, rows: u64, db: &Client) -> TaskResult<()> {
    let Some(once) = &load.once else { return Ok(()) };
    let insert = format!(
        "insert into {} (target, load_key, attempt, lease_no, rows) values ($1, $2, $3, $4::integer, $5) \
         on conflict (target, load_key) do update set attempt = excluded.attempt, lease_no = excluded.lease_no, \
         rows = excluded.rows, loaded_at = excluded.loaded_at",
        name(load)
    );
    let (attempt, lease_no) = (once.fence.map(|(attempt, _)| attempt), once.fence.map(|(_, lease_no)| lease_no));
    db.execute(&insert, &[&load.table, &once.key, &attempt, &lease_no, &(rows as i64)]).await?;
    Ok(())
}
