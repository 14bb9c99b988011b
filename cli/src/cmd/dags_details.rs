//! `orch dags details`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{FormatFlag, Record, moment};
use orch_spec::Deadline;
use orch_spec::state::RunState;
use serde_json::json;

/// Show everything about a DAG: schedule, params, limits, runs so far
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags details example_params\n  orch dags details example_params -o json")]
pub(crate) struct ShowDagDetails {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    output: FormatFlag,
}

impl ShowDagDetails {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let (dag, spec) = api.structure(&self.dag_id).await?;
        let counts = api.run_counts(&dag.dag_id).await?;
        let runs = |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.count);
        let tasks: Vec<&str> = spec.tasks.iter().map(|task| task.task_id.as_str()).collect();
        Record::new([
            ("dag_id", json!(dag.dag_id)),
            ("description", json!(dag.description)),
            ("is_paused", json!(dag.is_paused)),
            ("is_stale", json!(dag.is_stale)),
            ("schedule", json!(dag.schedule_text)),
            ("next_run_after", moment(dag.next_run_after)),
            ("next_logical_date", moment(dag.next_logical_date)),
            ("start_date", moment(spec.start)),
            ("end_date", moment(spec.end)),
            ("catchup", json!(spec.catchup)),
            ("max_active_runs", json!(dag.max_active_runs)),
            ("max_active_tasks", json!(spec.max_active_tasks)),
            ("max_consecutive_failed_runs", json!(dag.max_consecutive_failed_runs)),
            ("run_timeout_ms", json!(spec.run_timeout_ms)),
            ("deadlines", json!(spec.deadlines.iter().map(Deadline::words).collect::<Vec<_>>())),
            ("owners", json!(dag.owners)),
            ("tags", json!(dag.tags)),
            ("aliases", json!(dag.aliases)),
            ("tasks", json!(tasks)),
            ("params", json!(spec.params_schema.as_ref().and_then(|schema| schema.get("properties")))),
            ("version", json!(dag.version_number)),
            ("bundle_name", json!(dag.bundle)),
            ("fileloc", json!(dag.file)),
            ("registered_at", moment(Some(dag.registered_at))),
            ("runs_queued", json!(runs(RunState::Queued))),
            ("runs_running", json!(runs(RunState::Running))),
            ("runs_success", json!(runs(RunState::Success))),
            ("runs_failed", json!(runs(RunState::Failed))),
        ])
        .print(self.output.format)
    }
}
