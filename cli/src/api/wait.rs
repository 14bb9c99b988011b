//! Waiting for a run to end, and saying how it did.

use super::{Api, ApiReply, Door, Query, ask::of_run, read};
use crate::web_role;
use orch_binary::failure::{Exit, Failure};
use orch_binary::names;
use orch_binary::wait::{self, TimeoutFlag, too_long};
use orch_spec::state::RunState;
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

    /// The outcome of a run as that of the command: of one that failed with the first task that did, and why.
    pub(crate) async fn outcome(&self, run: &RunDetails) -> Exit {
        let exit = wait::ended(run);
        if run.state == RunState::Failed {
            // A server that cannot be reached any more does not change how the run ended.
            if let Ok(Some((task, causes))) = self.first_failure(run).await {
                eprintln!("task {task} failed: {}", causes.join(": "));
            }
            eprintln!("see its tasks with `orch tasks states-for-dag-run {} {}`", run.dag_id, run.run_id);
        }
        exit
    }

    async fn first_failure(&self, run: &RunDetails) -> Result<Option<(String, Vec<String>)>, Failure> {
        let failed = Query::default().with("state", "failed").with("order_by", "end_date").with("limit", 1);
        let ApiReply::Found(found) = self.get(&of_run(run), &failed).await? else { return Ok(None) };
        let Some(instance) = found["task_instances"].get(0).and_then(read::instance) else { return Ok(None) };
        let causes = self.causes(run, &instance).await?;
        let of_element =
            if instance.map_index < 0 { String::new() } else { format!(" (element {})", instance.map_index) };
        Ok((!causes.is_empty()).then(|| (format!("`{}`{of_element}", instance.task_id), causes)))
    }
}
