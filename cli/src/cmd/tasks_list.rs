//! `orch tasks list`.

use crate::cx::Cx;
use orch_binary::failure::Outcome;
use orch_binary::output::{Format, Listing, print_line};
use serde_json::json;

/// List the tasks of a DAG, in an order in which they can run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch tasks list example_diamond\n  orch tasks list example_diamond -o table")]
pub(crate) struct ListTasks {
    /// The DAG, by id or alias
    dag_id: String,
    /// With kind, rule and upstreams, in this format; ids alone without it
    #[arg(short, long = "output", value_enum)]
    output: Option<Format>,
}

impl ListTasks {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let (dag, spec) = cx.api().await?.structure(&self.dag_id).await?;
        let Some(format) = self.output else {
            let ids: Vec<&str> = spec.tasks.iter().map(|task| task.task_id.as_str()).collect();
            return print_line(&ids.join("\n"));
        };
        let columns = ["task_id", "kind", "role", "mapped", "trigger_rule", "retries", "queue", "upstream"];
        let mut listing = Listing::new(columns, format!("dag `{}` has no tasks", dag.dag_id));
        for task in &spec.tasks {
            listing.add([
                json!(task.task_id),
                json!(task.kind),
                json!(task.role),
                json!(spec.map_of(task).is_some()),
                json!(task.options.trigger_rule.unwrap_or_default()),
                json!(task.options.retries.unwrap_or(0)),
                json!(task.options.queue.as_deref().unwrap_or("default")),
                json!(task.upstreams()),
            ]);
        }
        listing.print(format)
    }
}
