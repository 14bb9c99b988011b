//! `orch dags report`: the time that reading each DAG file takes.

use crate::cx::Cx;
use orch_binary::config::FolderFlags;
use orch_binary::failure::Outcome;
use orch_binary::files;
use orch_binary::output::{FormatFlag, Listing};
use orch_workers::FILES_BUNDLE;
use serde_json::json;

/// Read the folder of DAG files here and now, and tell how long each took
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags report --dags-folder ./dags\n  orch dags report -o json")]
pub(crate) struct Report {
    /// Only these bundles
    #[arg(short = 'B', long, value_name = "NAME")]
    bundle_name: Vec<String>,
    #[command(flatten)]
    folder: FolderFlags,
    #[command(flatten)]
    output: FormatFlag,
}

impl Report {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| self.folder.add_to(given))?;
        let mut listing = Listing::new(["file", "duration", "dag_num", "task_num", "dags", "errors"], "no DAG files");
        if self.bundle_name.is_empty() || self.bundle_name.iter().any(|name| name == FILES_BUNDLE) {
            for file in files::read_folder(&config, cx.body_of())?.report() {
                let ids: Vec<&str> = file.dags.iter().map(|dag| dag.dag_id.as_str()).collect();
                let tasks: usize = file.dags.iter().map(|dag| dag.tasks.len()).sum();
                let took = format!("0:00:{:09.6}", file.took.as_secs_f64());
                let errors = file.problems.len();
                listing.add([json!(file.file), json!(took), json!(ids.len()), json!(tasks), json!(ids), json!(errors)]);
            }
        }
        listing.print(self.output.format)
    }
}
