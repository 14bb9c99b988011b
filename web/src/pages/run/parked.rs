//! The reason why a run is parked, and since when.

use crate::parts::{self, Ago, ZonedNow};
use crate::refusal::Refusal;
use orch_store::parked::parked_run;
use orch_store::run::RunDetails;
use sqlx::PgConnection;

pub(super) struct Parked {
    pub(super) since: Ago,
    pub(super) why: String,
}

impl Parked {
    pub(super) async fn of(db: &mut PgConnection, run: &RunDetails, now: ZonedNow) -> Result<Option<Parked>, Refusal> {
        let parked = parked_run(db, run.id).await?;
        Ok(parked.map(|parked| Parked { since: parts::ago(parked.since, now), why: parked.why }))
    }
}
