//! `orch scheduler`.

use crate::cx::Cx;
use orch_binary::config::{ArchiveFlags, MetricsFlags, SchedulerFlags};
use orch_binary::failure::Outcome;
use orch_binary::parts::{self, Parts, Signals};
use orch_binary::roles;

/// Run a scheduler; any number of them work side by side
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch scheduler --database-url postgres://orch@db/orch\n  \
    orch scheduler --metrics-address 127.0.0.1:9464")]
pub(crate) struct Scheduler {
    #[command(flatten)]
    scheduler: SchedulerFlags,
    #[command(flatten)]
    archive: ArchiveFlags,
    #[command(flatten)]
    metrics: MetricsFlags,
}

impl Scheduler {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| {
            self.scheduler.add_to(given);
            self.archive.add_to(given);
            self.metrics.add_to(given);
        })?;
        roles::start_process(&config)?;
        parts::block_on(async {
            let (url, _) = roles::connect_checked(&config, "orch scheduler").await?;
            // Handle signals only from here on: while the process waits for its database, the first signal ends it.
            let mut signals = Signals::hear()?;
            let mut parts = Parts::new(&url, "orch scheduler", roles::SCHEDULER_CONNECTIONS)?;
            let scheduler = roles::scheduler(&config, &url)?;
            let loops = scheduler.loops.clone();
            parts.add_metrics(&config, "scheduler", move |text| loops.tell(text)).await?;
            parts.add_scheduler(scheduler);
            parts.add_messenger(roles::messenger(&config, &url)?);
            eprintln!("orch scheduler is up on {}, pid {}", roles::hostname(), std::process::id());
            parts.run_until_ended(&mut signals).await
        })
    }
}
