//! Waiting for a run to end.

use super::Api;
use orch_binary::failure::Failure;
use orch_binary::wait::{TimeoutFlag, too_long};
use orch_store::run::RunDetails;
use std::time::{Duration, Instant};

const FIRST_REQUESTS: Duration = Duration::from_millis(20);
const LONGEST_BETWEEN_REQUESTS: Duration = Duration::from_secs(1);

/// Each look costs a request.
pub(crate) async fn wait_for_run(api: &Api, run: RunDetails, timeout: TimeoutFlag) -> Result<RunDetails, Failure> {
    let began = Instant::now();
    let mut now = run;
    while !now.state.is_finished() {
        let waited = began.elapsed();
        if timeout.timeout.is_some_and(|most| waited >= most) {
            return Err(too_long(&now, waited));
        }
        tokio::time::sleep((waited / 10).clamp(FIRST_REQUESTS, LONGEST_BETWEEN_REQUESTS)).await;
        now = api.run(&now.dag_id, &now.run_id)?;
    }
    Ok(now)
}
