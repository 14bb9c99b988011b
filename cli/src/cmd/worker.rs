//! `orch worker`.

use crate::app::Cx;
use crate::config::{DagFlags, SecretFlags, WorkerFlags};
use crate::failure::Outcome;
use crate::parts::{self, Parts, Signals};
use crate::{logging, roles};

/// Run a worker with the DAGs of this binary
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch worker --database-url postgres://orch@db/orch\n  \
    orch worker --queues mysql,default --slots 64 --name loader-1")]
pub(crate) struct Worker {
    #[command(flatten)]
    worker: WorkerFlags,
    #[command(flatten)]
    dags: DagFlags,
    #[command(flatten)]
    secrets: SecretFlags,
}

impl Worker {
    pub(crate) fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| {
            self.worker.add_to(given);
            self.dags.add_to(given);
            self.secrets.add_to(given);
        })?;
        logging::start(&config)?;
        let bundle = cx.bundle().build()?;
        parts::block_on(async {
            let mut signals = Signals::hear()?;
            let (url, mut db) = roles::connect_checked(&config, "orch worker").await?;
            let offers = roles::register(&mut db, &bundle, config.paused_at_creation).await?;
            drop(db);
            let mut parts = Parts::new(&url);
            parts.add_worker(roles::worker(&config, &url)?, offers);
            parts.run(&mut signals).await
        })
    }
}
