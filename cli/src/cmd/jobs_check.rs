//! `orch jobs check`: checks that a scheduler, a worker or a web server is alive, for scripts and probes.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::roles::hostname;
use orch_store::process::list_processes;
use orch_store::worker::list_workers;
use orch_web::{is_alive, is_worker_alive};

/// What Airflow calls the parts, and ours beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum JobType {
    #[value(name = "SchedulerJob")]
    Scheduler,
    #[value(name = "WorkerJob")]
    Worker,
    #[value(name = "WebJob")]
    Web,
    /// Workers: they ask for what tasks wait for
    #[value(name = "TriggererJob")]
    Triggerer,
    /// Workers: they read DAG files
    #[value(name = "DagProcessorJob")]
    DagProcessor,
}

/// Check that parts of orch are alive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch jobs check --job-type SchedulerJob --local\n  \
    orch jobs check --job-type WorkerJob --allow-multiple --limit 100\n\n\
    Exit code: 0 as expected, 1 no part is alive, or more than one without `--allow-multiple`, 2 it could not be asked.")]
pub(crate) struct CheckJobs {
    /// Only parts of this kind
    #[arg(long, value_enum)]
    job_type: Option<JobType>,
    /// Only on this machine, by its name
    #[arg(long, value_name = "HOSTNAME", conflicts_with = "local")]
    hostname: Option<String>,
    /// Only on this machine
    #[arg(long)]
    local: bool,
    /// Look at so many, the ones heard of last; 0: all
    #[arg(long, default_value_t = 1, value_name = "MANY")]
    limit: usize,
    /// More than one may be alive
    #[arg(long)]
    allow_multiple: bool,
}

impl CheckJobs {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        if self.allow_multiple && self.limit == 1 {
            return Err(Failure::new("`--allow-multiple` has nothing to allow with a limit of 1")
                .hint("name a larger `--limit`, or 0 for all"));
        }
        let mut session = cx.session().await?;
        let mut jobs = Vec::new();
        for row in list_processes(&mut session.db).await? {
            let kind = if row.role == "scheduler" { JobType::Scheduler } else { JobType::Web };
            let is_alive = is_alive(&row);
            jobs.push((kind, row.hostname, row.silent_secs, is_alive));
        }
        for row in list_workers(&mut session.db).await? {
            let is_alive = is_worker_alive(&row);
            jobs.push((JobType::Worker, row.hostname, row.silent_secs, is_alive));
        }
        let wanted = self.job_type.map(|kind| match kind {
            JobType::Triggerer | JobType::DagProcessor => JobType::Worker,
            other => other,
        });
        let host = if self.local { Some(hostname()) } else { self.hostname };
        jobs.retain(|(kind, on, ..)| {
            wanted.is_none_or(|wanted| wanted == *kind) && host.as_ref().is_none_or(|host| host == on)
        });
        jobs.sort_by(|a, b| a.2.total_cmp(&b.2));
        let most = if self.limit == 0 { usize::MAX } else { self.limit };
        let alive = jobs.iter().take(most).filter(|(.., is_alive)| *is_alive).count();
        Ok(report_alive_jobs(alive, self.allow_multiple))
    }
}

/// Reports the number with the messages of Airflow.
fn report_alive_jobs(alive: usize, allow_multiple: bool) -> Exit {
    match alive {
        0 => eprintln!("No alive jobs found."),
        1 => eprintln!("Found one alive job."),
        many if allow_multiple => eprintln!("Found {many} alive jobs."),
        many => eprintln!("Found {many} alive jobs. Expected only one."),
    }
    if alive == 1 || (alive > 1 && allow_multiple) { Exit::Done } else { Exit::Failed }
}
