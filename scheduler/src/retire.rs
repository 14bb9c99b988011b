//! What was kept long enough goes. It may take hours where much goes into an archive, so it has no rounds that somebody
//! watches, and a connection of its own; whoever dies in the middle has lost nothing, and the next one goes on.

use crate::rounds::Shared;
use orch_store::clean::{Cleaned, retire, retire_to};
use orch_store::{StoreError, StoreResult, connect};

/// Named when there is more: a log line stays a line.
const MOST_NAMED: usize = 20;

pub(crate) async fn run(shared: Shared) -> &'static str {
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
                Err(StoreError::CleaningElsewhere) => tracing::debug!("somebody else cleans"),
                Err(error) => tracing::warn!(
                    %error,
                    cause = error.source_text(),
                    "what was kept long enough could not go; nothing is lost, and it is tried again within the hour"
                ),
            },
        }
    }
}

async fn once(shared: &Shared) -> StoreResult<Vec<Cleaned>> {
    let config = &shared.config;
    let archive = config.archive.open().await?;
    let mut db = connect::one(&config.database_url, "orch scheduler retire").await?;
    match archive {
        Some(archive) => retire_to(&mut db, &config.retention, &*archive).await,
        None => retire(&mut db, &config.retention).await,
    }
}

/// `task_instance 2026-08-17 dropped`
fn words(done: &Cleaned) -> String {
    let week = done.week.map_or_else(String::new, |week| format!(" {week}"));
    format!("{}{week} {}", done.table, done.how)
}
