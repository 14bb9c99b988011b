//! `orch db check`: checks that the database can be reached and its schema is compatible with this binary.

use crate::cx::Cx;
use orch_binary::failure::{Exit, Outcome};
use orch_binary::output::Style;
use orch_binary::session::Session;
use std::time::Duration;

/// Check that the database can be reached and that its schema fits
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orch db check\n  orch db check --retry 30 --retry-delay 1")]
pub(crate) struct CheckDatabase {
    /// Try again so many times
    #[arg(long, default_value_t = 0)]
    retry: u32,
    /// Seconds between two tries
    #[arg(long, default_value_t = 1, value_name = "SECONDS")]
    retry_delay: u64,
}

impl CheckDatabase {
    pub(crate) async fn run(self, cx: &Cx) -> Outcome {
        let config = cx.config_of_database()?;
        let mut left = self.retry;
        loop {
            match Session::open(&config).await {
                Ok(_) => {
                    eprintln!("the database is reachable and its schema fits");
                    return Ok(Exit::Done);
                }
                // A failed check means exit code 1; code 2 is for checks that could not run.
                Err(failure) if left == 0 => {
                    failure.tell(Style::of_stderr());
                    return Ok(Exit::Failed);
                }
                Err(_) => tokio::time::sleep(Duration::from_secs(self.retry_delay)).await,
            }
            left -= 1;
        }
    }
}
