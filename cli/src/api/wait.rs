//! Waiting for a run to end.

use super::{Api, Door};
use crate::web_role;
use orch_binary::failure::Failure;
use orch_binary::names;
use orch_binary::wait::{self, TimeoutFlag, too_long};
use orch_store::run::RunDetails;
use std::time::{Duration, Instant};

const FIRST_REQUESTS: Duration = Duration::from_millis(20);
const LONGEST_BETWEEN_REQUESTS: Duration = Duration::from_secs(1);

impl Api {
    /// Over HTTP each look costs a request; a database is looked at more often.
    pub(crate) async fn wait_for_run(&self, mut run: RunDetails, timeout: TimeoutFlag) -> Result<RunDetails, Failure> {
        if let Door::Here(here, _) = &self.door {
            let mut db = here.connection().await.map_err(web_role::failure)?;
            let run = names::run(&mut db, &run.dag_id, &run.run_id).await?;
            return wait::for_run(&mut db, &run, timeout).await;
        }
        let began = Instant::now();
        while !run.state.is_finished() {
            let waited = began.elapsed();
            if timeout.timeout.is_some_and(|most| waited >= most) {
                return Err(too_long(&run, waited));
            }
            tokio::time::sleep((waited / 10).clamp(FIRST_REQUESTS, LONGEST_BETWEEN_REQUESTS)).await;
            run = self.run_of(&run.dag_id, &run.run_id).await?;
        }
        Ok(run)
    }
}
