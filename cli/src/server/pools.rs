//! Pools, at the database or over the API.

use super::Server;
use orch_binary::failure::Failure;
use orch_binary::session::{did_in, did_in_and_hint};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::pool::{DeletePool, NewPool, PoolRow, delete_pool, get_pool, list_pools, set_pool};
use serde_json::json;
use sqlx::Connection as _;

impl Server {
    /// By name.
    pub(crate) async fn pools(&mut self) -> Result<Vec<PoolRow>, Failure> {
        match self {
            Server::Database(session) => Ok(list_pools(&mut session.db).await?),
            Server::Api(api) => api.pools(),
        }
    }

    pub(crate) async fn pool(&mut self, name: &str) -> Result<Option<PoolRow>, Failure> {
        match self {
            Server::Database(session) => Ok(get_pool(&mut session.db, name).await?),
            Server::Api(api) => api.pool(name),
        }
    }

    /// Makes them, or makes them so. At a database all or none.
    pub(crate) async fn set_pools(&mut self, pools: &[NewPool], event: &str) -> Result<(), Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.set_pools(pools),
        };
        let mut transaction = session.db.begin().await?;
        for new in pools {
            set_pool(&mut transaction, new).await?;
            let extra = json!({ "name": new.name, "slots": new.slots, "include_deferred": new.include_deferred });
            let deed = Deed { event, extra: Some(extra), ..Deed::default() };
            // There may be room: schedulers look once it is committed.
            did_in_and_hint(&mut transaction, &deed, &[Hint::Due]).await?;
        }
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn delete_pool(&mut self, name: &str) -> Result<DeletePool, Failure> {
        let session = match self {
            Server::Database(session) => session,
            Server::Api(api) => return api.delete_pool(name),
        };
        let mut transaction = session.db.begin().await?;
        let done = delete_pool(&mut transaction, name).await?;
        if done == DeletePool::Deleted {
            let extra = Some(json!({ "name": name }));
            did_in(&mut transaction, &Deed { event: "delete_pool", extra, ..Deed::default() }).await?;
        }
        transaction.commit().await?;
        Ok(done)
    }
}
