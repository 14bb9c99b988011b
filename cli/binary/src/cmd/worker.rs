//! `orch worker`.

use crate::app::Cx;
use crate::config::{DagFlags, ExampleFlags, FolderFlags, MetricsFlags, SecretFlags, WorkerFlags};
use crate::failure::Outcome;
use crate::output::counted;
use crate::parts::{self, Parts, Signals};
use crate::{files, roles};
use sqlx::PgConnection;
use std::path::PathBuf;
use std::sync::Arc;

/// Run a worker with the DAGs of this binary
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch worker --database-url postgres://orch@db/orch\n  \
    orch worker --dags-folder /srv/dags\n  orch worker --queues mysql,default --slots 64 --name loader-1\n\n\
    SIGTERM stops it: what runs is given the grace period. SIGUSR1 retires it: it leaves to other workers what they offer,\n\
    goes on with the runs whose version only it has, and then stops. To bring out a new binary start its worker first.")]
pub struct Worker {
    #[command(flatten)]
    worker: WorkerFlags,
    #[command(flatten)]
    folder: FolderFlags,
    #[command(flatten)]
    dags: DagFlags,
    #[command(flatten)]
    examples: ExampleFlags,
    #[command(flatten)]
    secrets: SecretFlags,
    #[command(flatten)]
    metrics: MetricsFlags,
    /// The structures of these DAGs count also where a living worker offers newer ones: to go back to an older binary
    #[arg(long)]
    take_over: bool,
    /// End when standard input closes: the process that started it has died
    #[arg(long, hide = true)]
    with_stdin: bool,
    /// Serve the web server of the process that started it at a socket of this folder
    #[arg(long, hide = true)]
    sockets: Option<PathBuf>,
}

impl Worker {
    pub fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_with(|given| {
            self.worker.add_to(given);
            self.folder.add_to(given);
            self.dags.add_to(given);
            self.examples.add_to(given);
            self.secrets.add_to(given);
            self.metrics.add_to(given);
        })?;
        roles::start_process(&config)?;
        // Only a folder that a setting names: the data folder may belong to a standalone.
        let folder = if config.dags_folder.is_some() { files::folder(&config)? } else { None };
        let source = cx.bundle();
        let (body_of, streams, servers) = (cx.body_of(), source.streams(), source.servers());
        let hides_streams = source.hides_streams(&config);
        let (dashboards, bundle) = (source.dashboards(&config)?, source.build(&config)?);
        parts::block_on(async {
            let (url, mut db) = roles::connect_checked(&config, "orch worker").await?;
            let register = async |db: &mut PgConnection| {
                let offers = if self.take_over {
                    roles::register_over(db, &bundle, config.paused_at_creation).await?
                } else {
                    roles::register(db, &bundle, config.paused_at_creation).await?
                };
                // With `--with-stdin`, the process that started this worker has prepared the role.
                if !self.with_stdin {
                    roles::prepare_task_role(&config, db, &url).await?;
                }
                roles::register_dashboards(db, &bundle.name, &dashboards).await?;
                Ok(offers)
            };
            let mut offers = roles::repeat_if_lost(&config, (&url, "orch worker"), &mut db, register).await?;
            drop(db);
            // Handle signals only from here on: until the worker is registered, the first signal ends the process.
            let mut signals = Signals::hear()?;
            let mut parts = Parts::new(&url, "orch worker pool", roles::WORKER_CONNECTIONS)?;
            if self.with_stdin {
                parts.end_with_stdin()?;
            }
            if folder.is_some() {
                offers.let_grow();
            }
            let offers = Arc::new(offers);
            let worker = roles::worker(&config, &url)?;
            let ready = format!("orch worker `{}` is up with {}", worker.name, counted(worker.slots, "slot"));
            let (tally, slots) = (worker.tally.clone(), worker.slots + worker.process_slots);
            parts.add_metrics(&config, "worker", move |text| tally.tell(text, slots)).await?;
            parts.add_worker(worker, offers.clone());
            parts.retire_when_told(offers.clone())?;
            parts.add_streams(streams, (&bundle.name, hides_streams), &config)?;
            if let Some(sockets) = &self.sockets {
                servers.iter().try_for_each(|server| server.add_behind_web(&mut parts, (&config, &url), sockets))?;
            }
            if let Some(folder) = folder {
                parts.add_folder(roles::folder(&config, folder, body_of), offers);
            }
            // With `--with-stdin`, the process that started this worker reports its start.
            if !self.with_stdin {
                eprintln!("{ready} for queues {}", config.queues.join(", "));
            }
            parts.run_until_ended(&mut signals).await
        })
    }
}
