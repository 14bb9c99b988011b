//! Reads the earlier history of an attempt: deferrals and pokes from before this worker claimed it. In the simulation,
//! which has no database, attempts have no history.

use crate::patience::patiently;
use orch_sdk::task::Resumed;
use orch_store::step::Lease;
use orch_store::{StoreResult, watch};
use sqlx::PgPool;
use std::time::Duration;

pub(crate) struct PastReader(Option<PgPool>);

impl PastReader {
    pub(crate) fn of(pool: PgPool) -> PastReader {
        PastReader(Some(pool))
    }

    pub(crate) fn unknown() -> PastReader {
        PastReader(None)
    }

    /// Returns the result of the attempt's wait, or `None` if the attempt was not deferred.
    pub(super) async fn resumed(&self, lease: Lease) -> StoreResult<Option<Resumed>> {
        let Some(pool) = &self.0 else { return Ok(None) };
        patiently(|| async { watch::resumed(&mut *pool.acquire().await?, lease).await }).await
    }

    /// Returns the time since the attempt's first poke.
    pub(super) async fn running_for(&self, lease: Lease) -> StoreResult<Duration> {
        let Some(pool) = &self.0 else { return Ok(Duration::ZERO) };
        patiently(|| async { watch::running_for(&mut *pool.acquire().await?, lease).await }).await
    }
}
