//! What dashboards show: their queries with the values that a reader chose, and answers that are kept until a table has a new
//! snapshot, so that any number of readers cost one query.
//!
//! An answer is kept under its query, the values and where its tables are (`LakeView::sources`). What is not kept is computed by a task
//! of this process, which goes on when the page that wanted it does not wait: the page is told when it is there (`mark`).

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

/// Rows that are kept, of all dashboards.
const MOST_KEPT_BYTES: usize = 64 << 20;
/// What an answer without rows takes.
const OVERHEAD_BYTES: usize = 512;
/// Queries at a time. The lake answers two: people with questions of their own come between them.
const AT_ONCE: usize = 2;
/// Answers that are waited for; more are refused.
const MOST_WAITING: usize = 200;

/// What a query gave, and when.
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

/// What the dashboards of this process share.
#[derive(Debug)]
pub(crate) struct Dashboards {
    answers: Answers<Outcome>,
    turns: Semaphore,
    jobs: Mutex<JoinSet<()>>,
    /// Of each dashboard: answers that came after their page.
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
    /// `false`: too much is waited for.
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

/// A dashboard with where it is declared.
#[derive(Debug, Clone)]
pub(crate) struct LoadedDashboard {
    pub(crate) dashboard: Dashboard,
    pub(crate) row: DashboardRow,
}

impl LoadedDashboard {
    /// `None`: another release wrote it, in words that this one does not know.
    fn of(row: DashboardRow) -> Option<LoadedDashboard> {
        let dashboard = serde_json::from_value(row.spec.clone());
        let dashboard = dashboard
            .inspect_err(|error| tracing::warn!(%error, dashboard.name = row.name, "a dashboard cannot be read"))
            .ok()?;
        Some(LoadedDashboard { dashboard, row })
    }

    /// Its readers have this role or a higher one.
    pub(crate) fn role(&self) -> Role {
        self.dashboard.role.parse().unwrap_or(Role::Admin)
    }
}

/// Those that a person with this role may read, by name.
pub(crate) async fn list(app: &App, role: Role) -> Result<Vec<LoadedDashboard>, Refusal> {
    let rows = list_dashboards(&mut *app.pages().await?).await?;
    Ok(rows.into_iter().filter_map(LoadedDashboard::of).filter(|shown| shown.role() <= role).collect())
}

/// The dashboard of this name, for a person with this role.
pub(crate) async fn find(app: &App, name: &str, role: Role) -> Result<LoadedDashboard, Refusal> {
    // No name has a NUL, and Postgres takes none.
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
