//! Waits for the end of runs. All waiters of this process share one query: the first one that needs a newer snapshot
//! reads the open runs, and the others use the result.

use crate::state::App;
use orch_store::StoreResult;
use orch_store::run::still_open;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Number of waiters per run.
    waited: Mutex<HashMap<Uuid, usize>>,
    last: tokio::sync::Mutex<Option<OpenRunsSnapshot>>,
}

/// Result of the last query: the awaited runs that were still open.
#[derive(Debug)]
struct OpenRunsSnapshot {
    began: Instant,
    open: HashSet<Uuid>,
}

/// Registers a waiter for a run until it is dropped.
#[derive(Debug)]
pub(crate) struct Wait {
    app: App,
    run: Uuid,
}

impl Wait {
    pub(crate) fn of(app: &App, run: Uuid) -> Wait {
        *app.ends.waited().entry(run).or_default() += 1;
        Wait { app: app.clone(), run }
    }

    /// Returns whether the run has ended or was deleted.
    pub(crate) async fn is_over(&self) -> StoreResult<bool> {
        let asked = Instant::now();
        let mut last = self.app.ends.last.lock().await;
        let look = match last.take() {
            // Another waiter started this query after this call.
            Some(look) if look.began >= asked => look,
            _ => {
                let began = Instant::now();
                let runs: Vec<Uuid> = self.app.ends.waited().keys().copied().collect();
                let mut db = self.app.hot().await?;
                OpenRunsSnapshot { began, open: still_open(&mut db, &runs).await?.into_iter().collect() }
            }
        };
        let over = !look.open.contains(&self.run);
        *last = Some(look);
        Ok(over)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waited = self.app.ends.waited();
        if let Some(count) = waited.get_mut(&self.run) {
            *count -= 1;
            if *count == 0 {
                waited.remove(&self.run);
            }
        }
    }
}

impl Ends {
    fn waited(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
