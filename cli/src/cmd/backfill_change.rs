//! `orch backfill pause`, `unpause`, `cancel` and `wait`.

use super::backfill_list::{describe_progress, state};
use crate::cx::Cx;
use orch_binary::failure::{Exit, Failure, Outcome};
use orch_binary::output::is_watched;
use orch_binary::wait::TimeoutFlag;
use std::time::{Duration, Instant};

/// Create no more runs of a backfill for now; those there are go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch backfill pause 7")]
pub(crate) struct PauseBackfill {
    /// The number of the backfill
    id: i32,
}

/// Let a backfill go on
#[derive(Debug, clap::Args)]
#[command(visible_alias = "resume", after_help = "Examples:\n  orch backfill unpause 7")]
pub(crate) struct UnpauseBackfill {
    /// The number of the backfill
    id: i32,
}

/// End a backfill: dates without a run get none, runs that wait have failed
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch backfill cancel 7\n  orch backfill cancel 7 --stop-running")]
pub(crate) struct CancelBackfill {
    /// The number of the backfill
    id: i32,
    /// Also stop what runs
    #[arg(long)]
    stop_running: bool,
}

/// Wait until a backfill is over; the exit code says how it ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch backfill wait 7 --timeout 2h\n\n\
    Exit code: 0 no run of it failed, 1 some did or it was cancelled, 2 it could not be waited for.")]
pub(crate) struct WaitForBackfill {
    /// The number of the backfill
    id: i32,
    #[command(flatten)]
    timeout: TimeoutFlag,
}

/// Poll interval. A poll counts all dates of the backfill, and users do not need faster updates.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl PauseBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        set_paused(cx, self.id, true).await
    }
}

impl UnpauseBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        set_paused(cx, self.id, false).await
    }
}

async fn set_paused(cx: &Cx, id: i32, paused: bool) -> Outcome {
    let api = cx.api().await?;
    let row = api.backfill(id).await?;
    api.pause_backfill(row.id, paused).await?;
    eprintln!("backfill {id} {}", if paused { "is paused; running runs continue" } else { "continues" });
    Ok(Exit::Done)
}

impl CancelBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let row = api.backfill(self.id).await?;
        api.cancel_backfill(row.id, self.stop_running).await?;
        eprintln!("backfill {}: {}", row.id, describe_progress(&api.backfill(row.id).await?));
        Ok(Exit::Done)
    }
}

impl WaitForBackfill {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let api = cx.api().await?;
        let began = Instant::now();
        loop {
            let row = api.backfill(self.id).await?;
            if row.completed_at.is_some() {
                eprintln!("backfill {}: {}", row.id, describe_progress(&row));
                return Ok(if state(&row) == "success" { Exit::Done } else { Exit::Failed });
            }
            api.check_at_work("start it with `orch standalone`")?;
            if self.timeout.timeout.is_some_and(|most| began.elapsed() >= most) {
                return Err(Failure::new(format!("backfill {} is not over yet: {}", row.id, describe_progress(&row)))
                    .hint(format!("wait again with `orch backfill wait {}`", row.id)));
            }
            if is_watched() {
                eprint!("\r\x1b[Kbackfill {}: {}", row.id, describe_progress(&row));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
