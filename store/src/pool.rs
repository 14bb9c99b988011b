//! Pools: so many slots for all tasks that name them, in whatever DAG. What is taken of them is counted from the tries that
//! hold slots (`admission`).

use crate::StoreResult;
use orch_core::gates::DEFAULT_POOL;
use sqlx::postgres::PgConnection;

/// Pools in one answer.
const MOST_POOLS: i64 = 10_000;

/// A pool as somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPool {
    pub name: String,
    /// −1: infinite.
    pub slots: i32,
    pub description: Option<String>,
    /// Deferred tries keep their slots.
    pub include_deferred: bool,
}

/// A pool and what is in it, in slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    pub name: String,
    pub slots: i32,
    pub description: Option<String>,
    pub include_deferred: bool,
    pub running: i64,
    /// Claimable.
    pub queued: i64,
    /// They wait to be let in.
    pub scheduled: i64,
    pub deferred: i64,
}

impl PoolRow {
    pub fn occupied(&self) -> i64 {
        self.running + self.queued + if self.include_deferred { self.deferred } else { 0 }
    }

    /// −1: there is no end of them. Below zero otherwise: the pool was made smaller.
    pub fn open(&self) -> i64 {
        if self.slots < 0 { -1 } else { i64::from(self.slots) - self.occupied() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletePool {
    Deleted,
    NoSuchPool,
    /// The default pool is always there.
    Default,
}

/// All pools, by name.
pub async fn list_pools(db: &mut PgConnection) -> StoreResult<Vec<PoolRow>> {
    read(db, None).await
}

pub async fn get_pool(db: &mut PgConnection, name: &str) -> StoreResult<Option<PoolRow>> {
    Ok(read(db, Some(name)).await?.pop())
}

async fn read(db: &mut PgConnection, name: Option<&str>) -> StoreResult<Vec<PoolRow>> {
    Ok(sqlx::query_file_as!(PoolRow, "queries/pool/list.sql", name, MOST_POOLS).fetch_all(db).await?)
}

/// `false`: there is one of that name.
pub async fn create_pool(db: &mut PgConnection, new: &NewPool) -> StoreResult<bool> {
    let done = sqlx::query!(
        "insert into pool (name, slots, description, include_deferred) values ($1, $2, $3, $4) on conflict do nothing",
        new.name,
        new.slots,
        new.description,
        new.include_deferred
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Makes it, or makes it so. The caller gives `Hint::Due`: there may be room now.
pub async fn set_pool(db: &mut PgConnection, new: &NewPool) -> StoreResult<()> {
    sqlx::query!(
        "insert into pool (name, slots, description, include_deferred) values ($1, $2, $3, $4)
        on conflict (name) do update set slots = excluded.slots, description = excluded.description,
          include_deferred = excluded.include_deferred",
        new.name,
        new.slots,
        new.description,
        new.include_deferred
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What uses it waits until there is one of that name again; what runs goes on.
pub async fn delete_pool(db: &mut PgConnection, name: &str) -> StoreResult<DeletePool> {
    if name == DEFAULT_POOL {
        return Ok(DeletePool::Default);
    }
    let done = sqlx::query!("delete from pool where name = $1", name).execute(db).await?;
    Ok(if done.rows_affected() == 1 { DeletePool::Deleted } else { DeletePool::NoSuchPool })
}

/// Whether tasks without a pool have to be let in.
pub(crate) async fn default_pool_has_size(db: &mut PgConnection) -> StoreResult<bool> {
    let size = sqlx::query_scalar!(r#"select slots >= 0 as "has_size!" from pool where name = $1"#, DEFAULT_POOL);
    Ok(size.fetch_optional(db).await?.unwrap_or(false))
}
