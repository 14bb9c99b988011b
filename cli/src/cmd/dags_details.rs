//! `orch dags details`.

use crate::app::Cx;
use crate::failure::Outcome;
use crate::names;
use crate::output::{FormatFlag, Record, moment};
use crate::server::Server;
use orch_core::state::RunState;
use orch_store::dag;
use serde_json::json;

/// Show everything about a DAG: schedule, params, limits, runs so far
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags details example_params\n  orch dags details example_params -o json")]
pub(crate) struct Details {
    /// The DAG, by id or alias
    dag_id: String,
    #[command(flatten)]
    output: FormatFlag,
}

impl Details {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        // The API knows a DAG from outside.
        let (dag, spec, counts) = match cx.server().await? {
            Server::Database(mut session) => {
                let dag = names::dag(&mut session.db, &self.dag_id).await?;
                let spec = names::dag_spec(&mut session.db, &dag.dag_id).await?;
                let counts = dag::run_counts(&mut session.db, &dag.dag_id).await?;
                (dag, Some(spec), counts)
            }
            Server::Api(api) => {
                let dag = api.dag(&self.dag_id)?;
                let counts = api.run_counts(&dag.dag_id)?;
                eprintln!(
                    "the API does not tell tasks, params, aliases, dates and limits of a dag: they are empty here"
                );
                (dag, None, counts)
            }
        };
        let spec = spec.as_deref();
        let runs = |state| counts.iter().find(|count| count.state == state).map_or(0, |count| count.count);
        let tasks = spec.map(|spec| spec.tasks.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>());
        Record::new([
            ("dag_id", json!(dag.dag_id)),
            ("description", json!(dag.description)),
            ("is_paused", json!(dag.is_paused)),
            ("is_stale", json!(dag.is_stale)),
            ("schedule", json!(dag.schedule_text)),
            ("next_run_after", moment(dag.next_run_after)),
            ("next_logical_date", moment(dag.next_logical_date)),
            ("start_date", moment(spec.and_then(|spec| spec.start))),
            ("end_date", moment(spec.and_then(|spec| spec.end))),
            ("catchup", json!(spec.map(|spec| spec.catchup))),
            ("max_active_runs", json!(dag.max_active_runs)),
            ("max_active_tasks", json!(spec.and_then(|spec| spec.max_active_tasks))),
            ("max_consecutive_failed_runs", json!(dag.max_consecutive_failed_runs)),
            ("run_timeout_ms", json!(spec.and_then(|spec| spec.run_timeout_ms))),
            ("owners", json!(dag.owners)),
            ("tags", json!(dag.tags)),
            ("aliases", json!(spec.map(|_| &dag.aliases))),
            ("tasks", json!(tasks)),
            ("params", json!(spec.and_then(|spec| spec.params_schema.as_ref()?.get("properties")))),
            ("version", json!(spec.map(|_| dag.version_number))),
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
