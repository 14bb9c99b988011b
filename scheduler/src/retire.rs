//! Deletes or archives expired data.
//!
//! A pass may take hours if it archives much, so it has its own connection and the watchdog does not limit it. If a
//! process dies during a pass, the next pass continues its work. A pass has one duty per table and one for the records
//! of topics, and a failing duty does not affect the others. A pass with failed duties is recorded as failed and
//! retried with exponential backoff.

use crate::rounds::Shared;
use orch_store::clean::{Cleaned, pass_begins, pass_failed, pass_went_well, retire_each};
use orch_store::topic::drop_old_records;
use orch_store::{StoreError, StoreResult, connect};
use std::time::Duration;

/// Maximum number of tables named in one log line.
const MOST_NAMED: usize = 20;
/// Retry delay after the first failure. Doubled after each further failure, up to `LONGEST_PAUSE`, the normal interval.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

pub(crate) async fn run_retire_loop(shared: Shared) -> &'static str {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return "retire",
            () = shared.board.retire.notified() => {}
        }
        tokio::select! {
            // The database rolls back the open transaction.
            () = shared.stop.cancelled() => return "retire",
            ended = once(&shared) => if let Err(error) = ended {
                tracing::warn!(%error, cause = error.source_text(), "a pass of the retention could not be recorded");
            }
        }
    }
}

/// Runs one retention pass. Records its success, or its errors and the time of the next attempt.
async fn once(shared: &Shared) -> StoreResult<()> {
    // Open a new connection for each statement, because a pass may break its connection or take hours.
    let open = || connect::one(&shared.config.database_url, "orch scheduler retire");
    pass_begins(&mut open().await?).await?;
    let mut pass = Pass::default();
    pass.tables(shared).await;
    pass.topics(shared).await;
    if !pass.done.is_empty() {
        let what: Vec<String> = pass.done.iter().take(MOST_NAMED).map(words).collect();
        tracing::info!(many = pass.done.len(), ?what, "what was kept long enough is gone");
    }
    match pass.failed.as_slice() {
        // Another process runs a pass and will record its result.
        [] if pass.is_elsewhere => Ok(()),
        [] => pass_went_well(&mut open().await?).await,
        failed => pass_failed(&mut open().await?, &failed.join("; "), pause).await.map(drop),
    }
}

/// The results of the duties of one pass.
#[derive(Default)]
struct Pass {
    done: Vec<Cleaned>,
    /// Failed duties, formatted as `DUTY: ERROR`.
    failed: Vec<String>,
    /// True if another process is cleaning tables.
    is_elsewhere: bool,
}

impl Pass {
    fn add(&mut self, duty: &str, ended: StoreResult<Vec<Cleaned>>) {
        match ended {
            Ok(done) => self.done.extend(done),
            Err(StoreError::CleaningElsewhere) => {
                self.is_elsewhere = true;
                tracing::debug!("another process cleans");
            }
            Err(error) => {
                tracing::warn!(
                    duty, %error, cause = error.source_text(),
                    "a duty of the retention failed; nothing is lost, and it is tried again within the hour"
                );
                self.failed.push(format!("{duty}: {}", error.in_full()));
            }
        }
    }

    async fn tables(&mut self, shared: &Shared) {
        let config = &shared.config;
        let work = async {
            let archive = config.archive.open().await?;
            let mut db = connect::one(&config.database_url, "orch scheduler retire").await?;
            let report = &mut |duty: &str, ended| self.add(duty, ended);
            retire_each(&mut db, &config.retention, archive.as_deref(), report).await
        };
        let ended = work.await;
        if ended.is_err() {
            self.add("tables", ended.map(|()| Vec::new()));
        }
    }

    async fn topics(&mut self, shared: &Shared) {
        let work = async {
            let mut db = connect::one(&shared.config.database_url, "orch scheduler retire").await?;
            let rows = drop_old_records(&mut db).await?;
            let cleaned = Cleaned {
                table: "topic_record".to_string(),
                week: None,
                how: "dropped",
                rows: Some(rows),
                place: None,
            };
            Ok(Some(cleaned).filter(|_| rows > 0).into_iter().collect())
        };
        self.add("topic_record", work.await);
    }
}

/// Returns the retry delay after `failures` consecutive failures.
fn pause(failures: i32) -> Duration {
    let doubled = failures.clamp(1, 10).unsigned_abs() - 1;
    FIRST_PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE)
}

/// Formats a result, such as `task_instance 2026-08-17 dropped`.
fn words(done: &Cleaned) -> String {
    let week = done.week.map_or_else(String::new, |week| format!(" {week}"));
    format!("{}{week} {}", done.table, done.how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_an_hour_and_no_further() {
        let minutes = [1, 2, 3, 6, 7, 1_000].map(|failures| pause(failures).as_secs() / 60);
        assert_eq!(minutes, [1, 2, 4, 32, 60, 60]);
    }
}
