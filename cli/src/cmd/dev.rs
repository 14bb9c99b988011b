//! `orch dev`.

use crate::cx::{Cx, block_on_value};
use crate::dev::Project;
use crate::standalone::{self, PAUSED_AT_CREATION, Web, Work};
use orch_binary::config::{Config, RoleFlags};
use orch_binary::failure::Outcome;
use std::path::PathBuf;

/// Run the project of this folder, and build and run it anew when a file changes
#[derive(Debug, clap::Args)]
#[command(
    mut_arg(PAUSED_AT_CREATION.0, |flag| flag.help(Config::help_with_default(PAUSED_AT_CREATION))),
    after_help = "Examples:\n  orch dev\n  orch dev --project ~/my-pipelines --port 9000\n  orch dev --release --data-dir ./data\n\n\
    Runs that are under way go on as they began; those that begin next are of what was built last.\n\
    What does not build changes nothing."
)]
pub(crate) struct Dev {
    /// Folder of the project; the one it is called in without it
    #[arg(long, value_name = "FOLDER", default_value = ".", hide_default_value = true)]
    project: PathBuf,
    /// The binary to run, if the project has several
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// Build it optimised
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    roles: RoleFlags,
    /// Without the web server
    #[arg(long)]
    no_web: bool,
}

impl Dev {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let mut variables = Vec::new();
        let config = cx.config_with(|given| {
            self.roles.add_to(given);
            variables = given.variables();
            given.defaults.push(PAUSED_AT_CREATION);
        })?;
        let project = block_on_value(Project::find(&self.project, self.bin.as_deref()))?;
        let project = Project { is_release: self.release, ..project };
        let web = if self.no_web { Web::Absent } else { Web::Served };
        standalone::run_standalone(cx, &config, web, Work::OfProject(project, variables))
    }
}
