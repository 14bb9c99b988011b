//! What was kept long enough goes. It may take hours where much goes into an archive, so it has no rounds that somebody
//! watches, and a connection of its own; whoever dies in the middle has lost nothing, and the next one goes on. When it
//! cannot be done, nothing goes; that is written down for people, and it is tried again after a pause that grows.

use crate::rounds::Shared;
use orch_store::clean::{Cleaned, pass_begins, pass_failed, pass_went_well, retire, retire_to};
use orch_store::topic::drop_old_records;
use orch_store::{StoreError, StoreResult, connect};
use std::time::Duration;

/// Named when there is more: a log line stays a line.
const MOST_NAMED: usize = 20;
/// After the first failure; doubled with each, up to the longest: as often as it is done anyway.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

pub(crate) async fn run_retire_loop(shared: Shared) -> &'static str {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return "retire",
            () = shared.board.retire.notified() => {}
        }
        tokio::select! {
            // The transaction under way is taken back by the database.
            () = shared.stop.cancelled() => return "retire",
            done = once(&shared) => match done {
                Ok(done) if done.is_empty() => {}
                Ok(done) => {
                    let what: Vec<String> = done.iter().take(MOST_NAMED).map(words).collect();
                    tracing::info!(many = done.len(), ?what, "what was kept long enough is gone");
                }
                Err(StoreError::CleaningElsewhere) => tracing::debug!("another process cleans"),
                Err(error) => tracing::warn!(
                    %error,
                    cause = error.source_text(),
                    "what was kept long enough could not go; nothing is lost, and it is tried again within the hour"
                ),
            },
        }
    }
}

/// One pass, and a note of how it ended.
async fn once(shared: &Shared) -> StoreResult<Vec<Cleaned>> {
    // Each on a connection of its own: a pass may break its one, or take hours.
    let open = || connect::one(&shared.config.database_url, "orch scheduler retire");
    pass_begins(&mut open().await?).await?;
    let done = pass(shared).await;
    match &done {
        Ok(_) => pass_went_well(&mut open().await?).await?,
        Err(StoreError::CleaningElsewhere) => {}
        Err(error) => {
            let cause = error.source_text();
            let why = if cause.is_empty() { error.to_string() } else { format!("{error}: {cause}") };
            pass_failed(&mut open().await?, &why, pause).await?;
        }
    }
    done
}

async fn pass(shared: &Shared) -> StoreResult<Vec<Cleaned>> {
    let config = &shared.config;
    let mut db = connect::one(&config.database_url, "orch scheduler retire").await?;
    let records = drop_old_records(&mut db).await?;
    let archive = config.archive.open().await?;
    let mut done = match archive {
        Some(archive) => retire_to(&mut db, &config.retention, &*archive).await?,
        None => retire(&mut db, &config.retention).await?,
    };
    if records > 0 {
        let table = "topic_record".to_string();
        done.push(Cleaned { table, week: None, how: "dropped", rows: Some(records), place: None });
    }
    Ok(done)
}

/// Until it is tried again after so many failures.
fn pause(failures: i32) -> Duration {
    let doubled = failures.clamp(1, 10).unsigned_abs() - 1;
    FIRST_PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE)
}

/// `task_instance 2026-08-17 dropped`
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
