//! DAG versions: structure as data, registered by workers, read by everyone, never changed.

use crate::step::NewTry;
use crate::{StoreError, StoreResult};
use orch_core::plan::{Plan, TaskIdx};
use orch_core::spec::DagSpec;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// A version ready for deciding.
#[derive(Debug)]
pub struct Version {
    pub id: i32,
    pub number: i32,
    pub dag_id: String,
    pub plan: Arc<Plan>,
    /// Ids of the tasks' queues, in the order of the tasks.
    pub queues: Vec<i32>,
}

impl Version {
    /// The first try of an instance that this version's run makes ready at revision `rev`.
    pub fn new_try(&self, run: Uuid, rev: i32, (task, map_index): (TaskIdx, i32)) -> NewTry {
        let planned = self.plan.task(task);
        NewTry {
            run,
            task,
            map_index,
            attempt: Uuid::now_v7(),
            version: self.id,
            queue: self.queues[usize::from(task)],
            priority: planned.priority,
            retries: planned.retries.min(1000) as i16,
            rev,
        }
    }
}

/// Reads a version and prepares it.
pub async fn load(db: &mut PgConnection, id: i32) -> StoreResult<Version> {
    let row =
        sqlx::query!("select dag_id, number, spec from dag_version where id = $1", id).fetch_one(&mut *db).await?;
    let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt(format!("version {id} of dag `{}`: {e}", row.dag_id));
    let spec: DagSpec = serde_json::from_value(row.spec).map_err(|e| corrupt(&e))?;
    let plan = Plan::new(Arc::new(spec)).map_err(|e| corrupt(&e))?;
    let queues = queue_ids(db, plan.tasks.iter().map(|t| t.queue.as_str())).await?;
    let queues = plan.tasks.iter().map(|t| queues[&t.queue]).collect();
    Ok(Version { id, number: row.number, dag_id: row.dag_id, plan: Arc::new(plan), queues })
}

/// Ids of queues by name; those that are new come to be.
pub async fn queue_ids<'a>(
    db: &mut PgConnection,
    names: impl IntoIterator<Item = &'a str>,
) -> StoreResult<HashMap<String, i32>> {
    let mut names: Vec<String> = names.into_iter().map(String::from).collect();
    names.sort();
    names.dedup();
    let known = async |db: &mut PgConnection| {
        let rows = sqlx::query!("select name, id from queue where name = any($1)", &names).fetch_all(db).await?;
        StoreResult::Ok(rows.into_iter().map(|r| (r.name, r.id)).collect::<HashMap<_, _>>())
    };
    let found = known(&mut *db).await?;
    if found.len() == names.len() {
        return Ok(found);
    }
    sqlx::query!("insert into queue (name) select unnest($1::text[]) on conflict do nothing", &names)
        .execute(&mut *db)
        .await?;
    known(db).await
}

/// Versions read so far. A version never changes, so nothing here grows old; the oldest go when there are many.
#[derive(Debug, Default)]
pub struct Versions {
    known: HashMap<i32, Arc<Version>>,
}

/// 2,000 DAGs in two versions each, some kilobytes apiece.
const MOST_VERSIONS: usize = 4_000;

impl Versions {
    pub async fn get(&mut self, db: &mut PgConnection, id: i32) -> StoreResult<Arc<Version>> {
        if let Some(version) = self.known.get(&id) {
            return Ok(version.clone());
        }
        if self.known.len() >= MOST_VERSIONS {
            self.known.clear();
        }
        let version = Arc::new(load(db, id).await?);
        self.known.insert(id, version.clone());
        Ok(version)
    }

    pub fn put(&mut self, version: Arc<Version>) {
        self.known.insert(version.id, version);
    }

    pub fn known(&self, id: i32) -> Option<&Arc<Version>> {
        self.known.get(&id)
    }
}
