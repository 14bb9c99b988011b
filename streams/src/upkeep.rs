//! Maintains the table of a stream while the stream publishes. A stream that commits every second writes a file every
//! second, so small files are merged and old snapshots expire.

use crate::publish::{To, beside};
use crate::run::Clock;
use orch_lake::table::maintain::{self as work, Compaction, Expiry};
use orch_lake::{Lake, LakeError, LakeResult, TableName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::task::JoinSet;

/// Number of commits between two rounds of maintenance.
const EVERY: u32 = 100;
/// Minimum number of small files in a partition before they are merged.
const MIN_FILES: usize = 20;
/// Number of snapshots that are always kept. A table property can keep more of them by age.
const KEEP: usize = 100;
/// Maximum number of compactions per round. If no file can reach the target size, compaction would never end.
const MAX_COMPACTIONS: u32 = 16;
/// Maximum number of compaction attempts that run concurrently with publishing. Later attempts block publishing.
const TRIES: u32 = 2;

/// Maintains the table until this value is dropped.
pub(crate) struct Upkeep {
    shared: Arc<Shared>,
    _running: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    commits: AtomicU32,
    is_due: Notify,
    publishing: Mutex<()>,
}

impl Upkeep {
    pub(crate) fn start(to: &To, clock: Clock) -> Upkeep {
        let shared = Arc::new(Shared::default());
        let mut running = JoinSet::new();
        // Postgres maintains its own tables.
        if let To::Lake(to) = to {
            let tables = [Ok(to.table.name.clone()), beside(&to.table.name)].into_iter().flatten().collect();
            running.spawn(maintain(shared.clone(), to.lake.clone(), tables, clock));
        }
        Upkeep { shared, _running: running }
    }

    /// Returns the turn of a batch. The turn must lock `publishing` while the batch is published.
    pub(crate) fn turn(&self) -> PublishTurn {
        PublishTurn(self.shared.clone())
    }
}

pub(crate) struct PublishTurn(Arc<Shared>);

impl PublishTurn {
    pub(crate) async fn publishing(&self) -> MutexGuard<'_, ()> {
        self.0.publishing.lock().await
    }

    pub(crate) fn committed(self) {
        if (self.0.commits.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(EVERY) {
            self.0.is_due.notify_one();
        }
    }
}

async fn maintain(shared: Arc<Shared>, lake: Lake, tables: Vec<TableName>, clock: Clock) {
    loop {
        shared.is_due.notified().await;
        for table in &tables {
            match maintain_table(&shared, &lake, table, clock).await {
                Ok(()) | Err(LakeError::NoTable { .. }) => {}
                Err(error) => {
                    tracing::warn!(%table, error = %error, "cannot maintain a table of a stream; trying again later");
                }
            }
        }
    }
}

/// Compacts a table and expires its snapshots. Files are written while the stream publishes, but the commits, which
/// take milliseconds, block publishing. Otherwise a stream that commits often would cause a conflict every time.
async fn maintain_table(shared: &Shared, lake: &Lake, name: &TableName, clock: Clock) -> LakeResult<()> {
    let compaction = Compaction::new().min_files(MIN_FILES);
    let mut tries = 1;
    for _ in 0..MAX_COMPACTIONS {
        // A compaction conflicts if an upsert concurrently replaces files that the compaction reads.
        let whole = if tries > TRIES { Some(shared.publishing.lock().await) } else { None };
        let change = lake.table(name).await?.compact(&compaction).await?;
        if change.is_empty() {
            break;
        }
        let publishing = if whole.is_none() { Some(shared.publishing.lock().await) } else { None };
        match change.commit(lake).await {
            Ok(_) => {}
            Err(LakeError::Conflict { .. }) if tries <= TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        drop(publishing);
    }
    let table = lake.table(name).await?;
    let is_kept = table.property("history.expire.max-snapshot-age-ms").is_some();
    let now = clock.now();
    let expiry = if is_kept { Expiry::new() } else { Expiry::new().older_than(now).keep_last(KEEP) };
    let mut asked = work::Upkeep { merge_manifests: true, ..work::Upkeep::default() };
    let publishing = shared.publishing.lock().await;
    lake.keep_up(name, &asked, None, now).await?;
    drop(publishing);
    asked = work::Upkeep { expiry: Some(expiry.tries(TRIES)), ..work::Upkeep::default() };
    match lake.keep_up(name, &asked, None, now).await {
        Err(LakeError::Conflict { .. }) => {
            let _publishing = shared.publishing.lock().await;
            lake.keep_up(name, &asked, None, now).await.map(drop)
        }
        done => done.map(drop),
    }
}
