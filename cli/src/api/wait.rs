//! Waits for a run to end, and reports how it ended.

use super::{Api, ApiReply, Door, Query, ask::of_run, read};
use crate::web_role;
use orch_binary::failure::{Exit, Failure};
use orch_binary::names;
use orch_binary::wait::{self, TimeoutFlag, too_long};
use orch_spec::state::RunState;
use orch_store::instance::InstanceRow;
use orch_store::run::RunDetails;
use std::time::{Duration, Instant};

const FIRST_REQUESTS: Duration = Duration::from_millis(20);
/// Maximum number of failed task instances that are printed after a run.
const MAX_FAILURES: usize = 20;
const LONGEST_BETWEEN_REQUESTS: Duration = Duration::from_secs(1);

impl Api {
    /// Waits until the run is finished and returns it. A database is polled more often than a server, where each poll
    /// is an HTTP request.
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

    /// Prints how the run ended and the tasks that failed, and returns the exit code of the command.
    pub(crate) async fn outcome(&self, run: &RunDetails) -> Exit {
        let exit = wait::ended(run);
        if run.state == RunState::Failed {
            // A failed request must not change the exit code.
            if let Ok((failed, total)) = self.failures(run).await {
                for line in &failed {
                    eprintln!("{line}");
                }
                if let Some(more) = total.checked_sub(failed.len()).filter(|more| *more > 0) {
                    eprintln!("{more} more failed");
                }
            }
            eprintln!("see its tasks with `orch tasks states-for-dag-run {} {}`", run.dag_id, run.run_id);
        }
        exit
    }

    /// Returns a line for each of the first `MAX_FAILURES` failed instances, in the order in which they failed, and the
    /// number of all failed instances.
    async fn failures(&self, run: &RunDetails) -> Result<(Vec<String>, usize), Failure> {
        let failed = Query::default().with("state", "failed").with("order_by", "end_date").with("limit", MAX_FAILURES);
        let ApiReply::Found(found) = self.get(&of_run(run), &failed).await? else { return Ok((Vec::new(), 0)) };
        let mut lines = Vec::new();
        for instance in found["task_instances"].as_array().into_iter().flatten().filter_map(read::instance) {
            let causes = self.causes(run, &instance).await?;
            lines.push(failure_line(&instance, &causes));
        }
        let total = found["total_entries"].as_u64().unwrap_or_default() as usize;
        Ok((lines, total))
    }
}

/// Returns ``task `load` (element 3) failed: disk full: No space left``. An instance that was marked as failed has no
/// causes.
fn failure_line(instance: &InstanceRow, causes: &[String]) -> String {
    let element = if instance.map_index < 0 { String::new() } else { format!(" (element {})", instance.map_index) };
    let causes = if causes.is_empty() { String::new() } else { format!(": {}", causes.join(": ")) };
    format!("task `{}`{element} failed{causes}", instance.task_id)
}
