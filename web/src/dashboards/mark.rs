//! A number that changes when a dashboard must be drawn again: a table has a new snapshot, the declaration changed, or
//! a result arrived after its page.
//!
//! The watcher of live pages never waits for the lake: it returns the last known number and starts a refresh in the
//! background.

use super::ask::queries;
use super::{LoadedDashboard, find};
use crate::auth::Role;
use crate::state::App;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Poll interval for the tables of a followed dashboard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The cached marks of followed dashboards, by name.
#[derive(Debug, Default)]
pub(crate) struct Marks(Mutex<HashMap<Arc<str>, CachedMark>>);

#[derive(Debug, Default)]
struct CachedMark {
    /// The mark without the number of late results.
    mark: Option<u64>,
    /// Time of the last refresh. `None` while a refresh is running.
    asked: Option<Instant>,
}

impl Marks {
    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, CachedMark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last known mark and whether a refresh is due.
    fn last(&self, name: &Arc<str>) -> (Option<u64>, bool) {
        let mut known = self.known();
        let Some(one) = known.get_mut(name) else {
            known.insert(name.clone(), CachedMark::default());
            return (None, true);
        };
        let is_due = one.asked.is_some_and(|at| at.elapsed() >= LOOK_EVERY);
        if is_due {
            one.asked = None;
        }
        (one.mark, is_due)
    }

    fn set(&self, name: &Arc<str>, mark: Option<u64>) {
        let mut known = self.known();
        // Entries that were not refreshed for a while have no followers.
        known.retain(|_, one| one.asked.is_none_or(|at| at.elapsed() < LOOK_EVERY * 60));
        let before = known.get(name).and_then(|one| one.mark);
        known.insert(name.clone(), CachedMark { mark: mark.or(before), asked: Some(Instant::now()) });
    }
}

/// Returns the last known mark and starts a refresh if one is due. Never blocks.
pub(crate) fn mark_by_now(app: &App, name: &Arc<str>) -> Option<i64> {
    let (mark, is_due) = app.dashboards.marks.last(name);
    if is_due {
        let (job_app, job_name) = (app.clone(), name.clone());
        let job = async move {
            let mark = match find(&job_app, &job_name, Role::Admin).await {
                Ok(shown) => Some(of(&job_app, &shown).await),
                Err(_) => None,
            };
            job_app.dashboards.marks.set(&job_name, mark);
        };
        if !app.dashboards.spawn(job) {
            app.dashboards.marks.set(name, None);
        }
    }
    mark.map(|mark| with_late(app, name, mark))
}

pub(crate) async fn mark(app: &App, shown: &LoadedDashboard) -> i64 {
    with_late(app, &shown.dashboard.name, of(app, shown).await)
}

fn with_late(app: &App, name: &str, mark: u64) -> i64 {
    mark.cast_signed().wrapping_add(app.dashboards.late(name))
}

/// Errors are part of the mark, so that a page with an error message is drawn again when the lake is available.
async fn of(app: &App, shown: &LoadedDashboard) -> u64 {
    let mut hasher = DefaultHasher::new();
    shown.row.updated_at.timestamp_micros().hash(&mut hasher);
    let asked = async { app.config.lake.open().await?.sources(queries(shown)).await };
    match asked.await {
        Ok(all) => {
            for sources in all {
                match sources {
                    Ok(sources) => sources.tables.hash(&mut hasher),
                    Err(error) => error.to_string().hash(&mut hasher),
                }
            }
        }
        Err(error) => error.to_string().hash(&mut hasher),
    }
    hasher.finish()
}
