//! Reads what an attempt did before this worker claimed it. The simulation has no database: its attempts were never
//! deferred and have not poked before.

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

    /// Returns the result of the attempt's wait, or `None` if it was not deferred.
    pub(super) async fn resumed(&self, lease: Lease) -> StoreResult<Option<Resumed>> {
        let Some(pool) = &self.0 else { return Ok(None) };
        patiently(|| async { watch::resumed(&mut *pool.acquire().await?, lease).await }).await
    }

    /// Returns the time since the first poke of the attempt.
    pub(super) async fn running_for(&self, lease: Lease) -> StoreResult<Duration> {
        let Some(pool) = &self.0 else { return Ok(Duration::ZERO) };
        patiently(|| async { watch::running_for(&mut *pool.acquire().await?, lease).await }).await
    }
}
