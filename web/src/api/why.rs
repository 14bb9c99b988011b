//! Why a task instance is in its state: as Airflow's list of dependencies that are not met, and in orch's own words
//! under `/api/orch/v1`.

use super::task_instances::{Instance, named};
use crate::extract::{Names, Query};
use crate::pages::run::failure::{Beyond, in_words};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_spec::state::TaskState;
use orch_store::StoreResult;
use orch_store::instance::{ledger, tries};
use orch_store::why::{BlockingReason, Holder, why as why_not};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Dependencies {
    dependencies: Vec<Unmet>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Unmet {
    name: &'static str,
    reason: String,
}

impl From<&BlockingReason> for Unmet {
    fn from(why: &BlockingReason) -> Self {
        Unmet { name: why.reason.name(), reason: why.reason.words() }
    }
}

/// A reason with all there is to know of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct Reason {
    name: &'static str,
    reason: String,
    /// When it passes by itself.
    again_at: Option<Timestamp>,
    /// Who is in the way: those who hold the slots it waits for.
    holders: Vec<HolderView>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
struct HolderView {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    map_index: i32,
    slots: i32,
    since: Timestamp,
}

impl From<Holder> for HolderView {
    fn from(holder: Holder) -> Self {
        HolderView {
            dag_id: holder.dag_id,
            dag_run_id: holder.run_id,
            task_id: holder.task_id,
            map_index: holder.map_index,
            slots: holder.slots,
            since: Timestamp(holder.since),
        }
    }
}

impl From<BlockingReason> for Reason {
    fn from(why: BlockingReason) -> Self {
        Reason {
            name: why.reason.name(),
            reason: why.reason.words(),
            again_at: why.reason.again_at().map(Timestamp),
            holders: why.holders.into_iter().map(HolderView::from).collect(),
        }
    }
}

/// What an instance waits for, or why it ended as it did.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WhyView {
    task_id: String,
    map_index: i32,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
    /// One sentence for people.
    summary: String,
    /// What is not met; empty when nothing stands in the way.
    reasons: Vec<Reason>,
    /// Upstreams by state.
    upstream: Vec<Upstream>,
    /// When it goes on, if it waits for a time.
    wake_at: Option<Timestamp>,
    /// Of the last try, if it failed, the outermost first.
    causes: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Upstream {
    task_id: String,
    #[schemars(with = "Option<String>")]
    state: Option<TaskState>,
}

pub(crate) async fn why(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<WhyView>, Refusal> {
    let instance = named(&app, &names, &mut query).await?;
    let mut db = app.pages().await?;
    let upstream = upstreams(&app, &mut db, &instance).await?;
    let reasons: Vec<Reason> = reasons(&app, &mut db, &instance).await?.into_iter().map(Reason::from).collect();
    let row = &instance.row;
    let tries = match row.state {
        TaskState::Failed | TaskState::UpForRetry => tries(&mut db, instance.run.id, row.task, row.map_index).await?,
        _ => Vec::new(),
    };
    let beyond = Beyond::of(&mut db, &instance.run, row, &tries).await?;
    let of_map = beyond.element.filter(|failed| failed.map_index < 0).map(|failed| failed.causes);
    let causes = tries.into_iter().next_back().map(|last| last.causes).or(of_map).unwrap_or_default();
    let summary = match row.state {
        TaskState::UpForRetry | TaskState::UpForReschedule => match row.wake_at {
            Some(at) => format!("it goes on at {}", at.to_rfc3339()),
            None => "it waits for its time".into(),
        },
        TaskState::Failed => beyond.ending.unwrap_or_else(|| in_words(&causes)),
        state if state.is_finished() => format!("it is over: {state}"),
        TaskState::Running | TaskState::Restarting => match &row.hostname {
            Some(host) => format!("it runs on {host}"),
            None => "it runs".into(),
        },
        _ => match reasons.first() {
            Some(first) => first.reason.clone(),
            None => "nothing stands in its way".into(),
        },
    };
    Ok(Json(WhyView {
        task_id: row.task_id.clone(),
        map_index: row.map_index,
        state: Some(row.state).filter(|state| *state != TaskState::None),
        summary,
        reasons,
        upstream,
        wake_at: row.wake_at.map(Timestamp),
        causes,
    }))
}

pub(super) async fn dependencies(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Dependencies> {
    let found = reasons(app, db, instance).await?;
    Ok(Dependencies { dependencies: found.iter().map(Unmet::from).collect() })
}

async fn upstreams(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Vec<Upstream>> {
    let Some(ledger) = ledger(db, &mut app.versions.clone(), instance.run.id).await? else { return Ok(Vec::new()) };
    let plan = &ledger.version.plan;
    let up = plan.task(instance.row.task).up.iter().map(|edge| Upstream {
        task_id: plan.task_id(edge.task).into(),
        state: Some(ledger.run.task(edge.task)).filter(|state| *state != TaskState::None),
    });
    Ok(up.collect())
}

/// What is not met, of an instance that does not run and is not over.
async fn reasons(app: &App, db: &mut PgConnection, instance: &Instance) -> StoreResult<Vec<BlockingReason>> {
    why_not(db, &mut app.versions.clone(), &instance.run, &instance.row).await
}
