//! `orch standalone`.

use crate::cx::Cx;
use crate::standalone::{self, Web, Work};
use orch_binary::config::RoleFlags;
use orch_binary::failure::Outcome;

/// Run a whole orch: database, scheduler, worker and web in one process, the bundle beside it in another
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch standalone\n  orch standalone --port 9000 --data-dir ./data\n  \
    orch standalone --database-url postgres://orch@db/orch --no-web")]
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
            // Whoever tries it out wants to see something happen.
            given.defaults.push(("paused_at_creation", "false"));
        })?;
        let web = if self.no_web { Web::Absent } else { Web::Served };
        standalone::run_standalone(cx, &config, web, Work::OfThisBinary(variables))
    }
}
