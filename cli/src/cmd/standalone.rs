//! `orch standalone`.

use crate::cx::Cx;
use crate::standalone::{self, PAUSED_AT_CREATION, Web, Work};
use orch_binary::config::{Config, RoleFlags};
use orch_binary::failure::Outcome;

/// Run a whole orch: database, scheduler, worker and web in one process, the bundle beside it in another
#[derive(Debug, clap::Args)]
#[command(
    mut_arg(PAUSED_AT_CREATION.0, |flag| flag.help(Config::help_with_default(PAUSED_AT_CREATION))),
    after_help = "Examples:\n  orch standalone\n  orch standalone --port 9000 --data-dir ./data\n  \
    orch standalone --database-url postgres://orch@db/orch --no-web"
)]
pub(crate) struct Standalone {
    #[command(flatten)]
    roles: RoleFlags,
    /// Without the web server
    #[arg(long)]
    no_web: bool,
}

impl Standalone {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let mut variables = Vec::new();
        let config = cx.config_with(|given| {
            self.roles.add_to(given);
            variables = given.variables();
            given.defaults.push(PAUSED_AT_CREATION);
        })?;
        let web = if self.no_web { Web::Absent } else { Web::Served };
        standalone::run_standalone(cx, &config, web, Work::OfThisBinary(variables))
    }
}
