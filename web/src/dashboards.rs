//! Queries of dashboards. Their results are cached until a table has a new snapshot, so that any number of readers
//! costs one query.
//!
//! The cache key consists of the query, its values and the newest metadata location of each table
//! (`LakeView::sources`), which changes with every commit. A missing result is computed by a background task of this
//! process, which continues if the page stops waiting. The page is then notified when the result is available (`mark`).

mod ask;
mod mark;
mod values;

pub(crate) use ask::{DashboardAnswers, DashboardSources, Rows, ask, the_rows};
pub(crate) use mark::{Marks, mark, mark_by_now};
pub(crate) use values::Field;

use crate::auth::Role;
use crate::extract;
use crate::refusal::Refusal;
use crate::state::App;
use axum::http::StatusCode;
use orch_document::dashboard::Dashboard;
use orch_store::dashboard::{DashboardRow, get_dashboard, list_dashboards};
use orch_store::lake_view::{Answers, Kept, LakeError, QueryAnswer, cell_bytes};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Maximum size of all cached results.
const MOST_KEPT_BYTES: usize = 64 << 20;
/// Size of a result without rows.
const OVERHEAD_BYTES: usize = 512;
/// Maximum number of concurrent queries. It is small, so that queries of users run in between.
const AT_ONCE: usize = 2;
/// Maximum number of background tasks. More are rejected.
const MOST_WAITING: usize = 200;

#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) answer: Arc<Result<QueryAnswer, LakeError>>,
    at: Instant,
}

impl Kept for Outcome {
    fn size(&self) -> usize {
        let rows = match &*self.answer {
            Ok(answer) => answer.rows.iter().flatten().map(|cell| cell_bytes(cell) + size_of_val(cell)).sum(),
            Err(error) => error.to_string().len(),
        };
        rows + OVERHEAD_BYTES
    }
}

/// Shared state of all dashboards in this process.
#[derive(Debug)]
pub(crate) struct Dashboards {
    answers: Answers<Outcome>,
    turns: Semaphore,
    jobs: Mutex<JoinSet<()>>,
    /// Number of results that arrived after their page stopped waiting, by dashboard.
    late: Mutex<HashMap<String, i64>>,
    marks: Marks,
}

impl Default for Dashboards {
    fn default() -> Self {
        Dashboards {
            answers: Answers::new(MOST_KEPT_BYTES),
            turns: Semaphore::new(AT_ONCE),
            jobs: Mutex::default(),
            late: Mutex::default(),
            marks: Marks::default(),
        }
    }
}

impl Dashboards {
    /// Returns false if too many background tasks are running.
    fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        while jobs.try_join_next().is_some() {}
        let has_room = jobs.len() < MOST_WAITING;
        if has_room {
            jobs.spawn(job);
        }
        has_room
    }

    fn came_late(&self, dashboard: &str) {
        *self.late.lock().unwrap_or_else(PoisonError::into_inner).entry(dashboard.into()).or_default() += 1;
    }

    fn late(&self, dashboard: &str) -> i64 {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).get(dashboard).copied().unwrap_or(0)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LoadedDashboard {
    pub(crate) dashboard: Dashboard,
    pub(crate) row: DashboardRow,
}

impl LoadedDashboard {
    /// Returns `None` if the declaration cannot be parsed, for example because another release wrote it.
    fn of(row: DashboardRow) -> Option<LoadedDashboard> {
        let dashboard = serde_json::from_value(row.spec.clone());
        let dashboard = dashboard
            .inspect_err(|error| tracing::warn!(%error, dashboard.name = row.name, "a dashboard cannot be read"))
            .ok()?;
        Some(LoadedDashboard { dashboard, row })
    }

    /// Returns the minimum role of its readers; admin if the role is unknown.
    pub(crate) fn role(&self) -> Role {
        self.dashboard.role.parse().unwrap_or(Role::Admin)
    }
}

/// Lists the dashboards that a user with this role may read, by name.
pub(crate) async fn list(app: &App, role: Role) -> Result<Vec<LoadedDashboard>, Refusal> {
    let rows = list_dashboards(&mut *app.pages().await?).await?;
    Ok(rows.into_iter().filter_map(LoadedDashboard::of).filter(|shown| shown.role() <= role).collect())
}

/// Returns the dashboard with this name if a user with this role may read it.
pub(crate) async fn find(app: &App, name: &str, role: Role) -> Result<LoadedDashboard, Refusal> {
    // No dashboard name contains a NUL character, which Postgres rejects.
    let row = if name.contains('\0') { None } else { get_dashboard(&mut *app.pages().await?, name).await? };
    let shown = row.and_then(LoadedDashboard::of).ok_or_else(|| {
        Refusal::not_found(format!(
            "there is no dashboard `{}`: `/dashboards` lists all there are",
            extract::escape_id(name)
        ))
    })?;
    if shown.role() > role {
        let text = format!("the dashboard is for people with the role `{}`: ask an admin for it", shown.dashboard.role);
        return Err(Refusal::plain(StatusCode::FORBIDDEN, text));
    }
    Ok(shown)
}
