//! `orch dags list-import-errors`: problems of DAG files.

use crate::api::ListFlags;
use crate::cx::Cx;
use orch_binary::config::FolderFlags;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::files;
use orch_binary::output::Listing;
use orch_spec::check::FileProblem;
use orch_workers::FILES_BUNDLE;
use serde_json::json;

/// List what is wrong with DAG files: as the server knows it, or as the folder is now
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch dags list-import-errors\n  \
    orch dags list-import-errors --local --dags-folder ./dags\n\n\
    Exit code: 0 nothing is wrong, 1 something is, 2 it could not be asked.")]
pub(crate) struct ListImportErrors {
    /// Only of these bundles
    #[arg(short = 'B', long, value_name = "NAME")]
    bundle_name: Vec<String>,
    /// Read the folder here and now, without a server
    #[arg(short, long, conflicts_with_all = ["conditions", "order_by", "limit"])]
    local: bool,
    #[command(flatten)]
    folder: FolderFlags,
    #[command(flatten)]
    list: ListFlags,
}

impl ListImportErrors {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let mut found: Vec<(String, FileProblem)> = Vec::new();
        if self.local {
            let config = cx.config_with(|given| self.folder.add_to(given))?;
            let folder = files::read_folder(&config, cx.body_of())?;
            let problems = folder.report().into_iter().flat_map(|file| file.problems);
            found.extend(problems.map(|problem| (FILES_BUNDLE.to_string(), problem)));
        } else {
            found = cx.api().await?.import_errors(&self.list.query()).await?;
        }
        found.retain(|(bundle, _)| self.bundle_name.is_empty() || self.bundle_name.contains(bundle));
        let mut listing = Listing::new(["bundle_name", "filepath", "error"], "no import errors").whole();
        for (bundle, problem) in &found {
            let place = match problem.line {
                0 => problem.file.clone(),
                line => format!("{}:{line}:{}", problem.file, problem.column),
            };
            let hint = if problem.hint.is_empty() { String::new() } else { format!("; hint: {}", problem.hint) };
            listing.add([json!(bundle), json!(place), json!(problem.message.clone() + &hint)]);
        }
        self.list.print(listing)?;
        Ok(if found.is_empty() { Exit::Done } else { Exit::Failed })
    }
}
