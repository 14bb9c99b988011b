//! What a try did before it came into these hands. The simulation has nobody to ask: there no try was deferred, and none
//! has looked for long.

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

    /// How its wait ended, if it was deferred.
    pub(super) async fn resumed(&self, lease: Lease) -> StoreResult<Option<Resumed>> {
        let Some(pool) = &self.0 else { return Ok(None) };
        patiently(|| async { watch::resumed(&mut *pool.acquire().await?, lease).await }).await
    }

    /// The time since its first look.
    pub(super) async fn running_for(&self, lease: Lease) -> StoreResult<Duration> {
        let Some(pool) = &self.0 else { return Ok(Duration::ZERO) };
        patiently(|| async { watch::running_for(&mut *pool.acquire().await?, lease).await }).await
    }
}
