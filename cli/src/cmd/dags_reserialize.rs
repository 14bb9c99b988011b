//! `orch dags reserialize`: registers DAGs again, without a worker.

use crate::cx::Cx;
use orch_binary::config::{DagFlags, ExampleFlags, FolderFlags};
use orch_binary::failure::{Exit, Outcome};
use orch_binary::output::counted;
use orch_binary::{files, roles};
use orch_workers::{FILES_BUNDLE, Folder, register_folder};

/// Register the DAGs of this binary and of the folder of DAG files again
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orch dags reserialize\n  orch dags reserialize -B dags-folder --dags-folder ./dags"
)]
pub(crate) struct Reserialize {
    /// Only these bundles
    #[arg(short = 'B', long, value_name = "NAME")]
    bundle_name: Vec<String>,
    #[command(flatten)]
    folder: FolderFlags,
    #[command(flatten)]
    dags: DagFlags,
    #[command(flatten)]
    examples: ExampleFlags,
}

impl Reserialize {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| {
            self.folder.add_to(given);
            self.dags.add_to(given);
            self.examples.add_to(given);
        })?;
        let (body_of, bundle) = (cx.body_of(), cx.bundle().build(&config)?);
        let wanted = |name: &str| self.bundle_name.is_empty() || self.bundle_name.iter().any(|wanted| wanted == name);
        let mut session = cx.session().await?;
        if wanted(&bundle.name) {
            roles::register(&mut session.db, &bundle, config.paused_at_creation).await?;
            eprintln!("bundle `{}`: {}", bundle.name, counted(bundle.dags().len(), "dag"));
        }
        if wanted(FILES_BUNDLE)
            && let Some(path) = files::folder(&config)?
        {
            let mut folder = Folder::new(path, body_of);
            register_folder(&mut session.db, &mut folder, config.paused_at_creation).await?;
            eprintln!("bundle `{FILES_BUNDLE}`: {}", counted(folder.dags().count(), "dag"));
            let broken = folder.report().iter().filter(|file| !file.problems.is_empty()).count();
            if broken > 0 {
                eprintln!("broken: {}; see `orch dags list-import-errors`", counted(broken, "file"));
                return Ok(Exit::Failed);
            }
        }
        Ok(Exit::Done)
    }
}
