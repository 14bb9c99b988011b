//! Condition on runs of other DAGs, or on tasks in these runs. One statement reads the state of all awaited runs.

use anyhow::bail;
use orch_sdk::task::{BoxFuture, Condition, ConditionResult, Eyes, RunSeen, TaskResult, fatal, skip};
use orch_sdk::wait::{RunWait, read};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Runs;

impl Condition for Runs {
    fn kind(&self) -> &'static str {
        RunWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        let wait: RunWait = read(config)?;
        if wait.allowed.is_empty() { Err("it waits for no state".into()) } else { Ok(()) }
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        Box::pin(async move {
            let wait: RunWait = read(&config).map_err(fatal)?;
            let seen = eyes.runs(vec![wait.clone()]).await?.into_iter().next().flatten();
            judge(&wait, seen)
        })
    }

    fn poke_together(
        &self,
        configs: &[Value],
        eyes: &Arc<dyn Eyes>,
    ) -> Option<BoxFuture<TaskResult<Vec<ConditionResult>>>> {
        let waits: Result<Vec<RunWait>, String> = configs.iter().map(read).collect();
        let (waits, eyes) = (waits.ok()?, eyes.clone());
        Some(Box::pin(async move {
            let seen = eyes.runs(waits.clone()).await?;
            Ok(waits.iter().zip(seen).map(|(wait, seen)| judge(wait, seen)).collect())
        }))
    }
}

fn judge(wait: &RunWait, seen: Option<RunSeen>) -> ConditionResult {
    let Some(seen) = seen else { return Ok(None) };
    let (dag_id, state, run_id) = (&wait.dag_id, &seen.state, &seen.run_id);
    let of = wait.task_id.as_ref().map_or_else(String::new, |task| format!("task `{task}` of "));
    if wait.allowed.contains(state) {
        return Ok(Some(json!({
            "dag_id": dag_id, "run_id": run_id, "state": state, "logical_date": seen.logical_date, "ended_at": seen.ended_at,
        })));
    }
    if wait.failed.contains(state) {
        bail!(fatal(format!("{of}run `{run_id}` of dag `{dag_id}` is {state}")));
    }
    if wait.skipped.contains(state) {
        return Err(skip(format!("{of}run `{run_id}` of dag `{dag_id}` is {state}")));
    }
    Ok(None)
}
