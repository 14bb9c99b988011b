//! Pools.

use super::{Answer, Api, Query, encoded, refused};
use crate::kept::Existing;
use orch_binary::failure::Failure;
use orch_core::gates::DEFAULT_POOL;
use orch_store::pool::{DeletePool, NewPool, PoolRow};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Pool {
    name: String,
    slots: i32,
    description: Option<String>,
    include_deferred: bool,
    running_slots: i64,
    queued_slots: i64,
    scheduled_slots: i64,
    deferred_slots: i64,
}

fn pool(value: &Value) -> Option<PoolRow> {
    let pool = Pool::deserialize(value).ok()?;
    Some(PoolRow {
        name: pool.name,
        slots: pool.slots,
        description: pool.description,
        include_deferred: pool.include_deferred,
        running: pool.running_slots,
        queued: pool.queued_slots,
        scheduled: pool.scheduled_slots,
        deferred: pool.deferred_slots,
    })
}

impl Api {
    /// By name.
    pub(crate) async fn pools(&self) -> Result<Vec<PoolRow>, Failure> {
        self.pages("pools", "pools", || Query::default().with("order_by", "name"), usize::MAX, pool).await
    }

    pub(crate) async fn pool(&self, name: &str) -> Result<Option<PoolRow>, Failure> {
        self.one(&format!("pools/{}", encoded(name)), pool).await
    }

    pub(crate) async fn set_pools(&self, pools: &[NewPool]) -> Result<(), Failure> {
        let entity = |new: &NewPool| {
            let mut body = json!({ "name": new.name, "slots": new.slots, "include_deferred": new.include_deferred });
            // A server leaves that of the default pool as it is, and says so.
            if new.name != DEFAULT_POOL {
                body["description"] = json!(new.description);
            }
            (new.name.clone(), body)
        };
        let entities: Vec<(String, Value)> = pools.iter().map(entity).collect();
        let left = self.create_all("pools", &entities, Existing::Overwrite).await?;
        if left.is_empty() { Ok(()) } else { Err(self.strange()) }
    }

    pub(crate) async fn delete_pool(&self, name: &str) -> Result<DeletePool, Failure> {
        match self.change("DELETE", &format!("pools/{}", encoded(name)), None).await? {
            Answer::Found(_) => Ok(DeletePool::Deleted),
            Answer::Refused(404, _) => Ok(DeletePool::NoSuchPool),
            Answer::Refused(..) if name == DEFAULT_POOL => Ok(DeletePool::Default),
            Answer::Refused(_, words) => Err(refused(&words)),
        }
    }
}
