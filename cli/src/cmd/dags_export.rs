//! `orch dags export` and `orch dags schema`: DAGs as files, and the JSON schema of these files.

use crate::cx::Cx;
use orch_binary::failure::{Failure, Outcome};
use orch_binary::output::print;
use orch_document::file;

/// Print a DAG as a DAG file, from the structure that the server has of it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags export sales > dags/sales.yaml\n\n\
    Functions of Rust cannot be said in a file: a DAG with one is refused.")]
pub(crate) struct ExportDag {
    /// The DAG, by id or alias
    dag_id: String,
}

/// Print the JSON Schema of DAG files, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags schema > dag-file.schema.json\n\n\
    In the first line of a file: # yaml-language-server: $schema=./dag-file.schema.json")]
pub(crate) struct Schema {}

impl ExportDag {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let (dag, spec) = cx.api().await?.structure(&self.dag_id).await?;
        let dag_id = dag.dag_id;
        let refused = |reason: String| Failure::new(format!("dag `{dag_id}` is no DAG file: {reason}"));
        let text = file::export(&spec).map_err(|error| Failure::all(error.reasons.into_iter().map(refused)))?;
        print(&text)
    }
}

impl Schema {
    pub(crate) fn run() -> Outcome {
        print(
            &(serde_json::to_string_pretty(&file::json_schema()).map_err(|error| Failure::from_error(&error))? + "\n"),
        )
    }
}
