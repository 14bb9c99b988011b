//! Creates a backfill with all its dates, or previews these dates.

use crate::{
    StoreResult, boxed,
    run::word,
    version::{Version, Versions},
};
use chrono::{DateTime, Utc};
use orch_core::backfill::{Action, BackfillRequest, CannotBackfill, Date, dates, plan};
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::part;
use orch_spec::params::{BadConf, check_conf};
use orch_spec::pattern::compile;
use orch_spec::state::RunState;
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Selects some tasks of a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillTasks {
    /// Selects the tasks whose ids contain a match.
    pub regex: String,
    /// True if everything upstream of these tasks is selected too.
    pub upstream: bool,
}

#[derive(Debug, Clone)]
pub struct NewBackfill {
    pub dag_id: String,
    pub wish: BackfillRequest,
    pub conf: Option<Value>,
    /// Maximum number of active runs of the backfill, in addition to the limit of the DAG.
    pub max_active_runs: i32,
    /// True if runs that rerun move to the newest version of the DAG.
    pub latest: bool,
    pub part: Option<BackfillTasks>,
    pub user: Option<String>,
}

/// The action of a backfill for each of its dates, in the order of processing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub dates: Vec<(Date, Action)>,
    /// Ids of the tasks that run. `None` means all tasks.
    pub tasks: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
pub enum CreateBackfill<T> {
    Done(T),
    NoSuchDag,
    Cannot(CannotBackfill),
    BadConf(BadConf),
    /// The regular expression is invalid or too large. Contains the reason.
    BadRegex(String),
    /// No task matches the regular expression.
    NoTask,
    /// The request selects no date.
    NoDate,
}

/// Creates a backfill and returns its id. Schedulers create its runs. The caller sends `Hint::Due` (a wake-up signal).
#[boxed]
pub async fn create_backfill(
    db: &mut PgConnection,
    versions: &mut Versions,
    new: &NewBackfill,
) -> StoreResult<CreateBackfill<i32>> {
    let mut tx = db.begin().await?;
    let planned = match plan_backfill(&mut tx, versions, new).await? {
        CreateBackfill::Done(planned) => planned,
        CreateBackfill::NoSuchDag => return Ok(CreateBackfill::NoSuchDag),
        CreateBackfill::Cannot(why) => return Ok(CreateBackfill::Cannot(why)),
        CreateBackfill::BadConf(bad) => return Ok(CreateBackfill::BadConf(bad)),
        CreateBackfill::BadRegex(why) => return Ok(CreateBackfill::BadRegex(why)),
        CreateBackfill::NoTask => return Ok(CreateBackfill::NoTask),
        CreateBackfill::NoDate => return Ok(CreateBackfill::NoDate),
    };
    let all = || planned.dates.iter().map(|(date, _)| date.logical_date);
    let (Some(from), Some(to)) = (all().min(), all().max()) else { return Ok(CreateBackfill::NoDate) };
    let (from, to) = match new.wish.dates {
        orch_core::backfill::Dates::Range { from, to, .. } => (from, to),
        orch_core::backfill::Dates::Each(_) => (from, to),
    };
    let id = sqlx::query_scalar!(
        "insert into backfill (dag_id, from_date, to_date, run_backwards, reprocess, max_active_runs, latest, conf, task_regex,
          with_upstream, created_by)
        values ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11) returning id",
        new.dag_id,
        from,
        to,
        new.wish.backwards,
        new.wish.reprocess.as_str(),
        new.max_active_runs.max(1),
        new.latest,
        new.conf.as_ref().map(ToString::to_string),
        new.part.as_ref().map(|part| part.regex.as_str()),
        new.part.as_ref().is_none_or(|part| part.upstream),
        new.user
    )
    .fetch_one(&mut *tx)
    .await?;
    let ends: Vec<DateTime<Utc>> = planned.dates.iter().map(|(date, _)| date.interval.end).collect();
    let starts: Vec<DateTime<Utc>> = planned.dates.iter().map(|(date, _)| date.interval.start).collect();
    // All dates are inserted. Dates that need no run are skipped later, when their turn comes, because their runs may
    // have finished by then.
    sqlx::query!(
        "insert into backfill_run (backfill, ordinal, logical_date, interval_start, interval_end)
        select $1, d.ordinal, d.logical_date, d.interval_start, d.interval_end
        from unnest($2::timestamptz[], $3::timestamptz[], $4::timestamptz[]) with ordinality
          as d (logical_date, interval_start, interval_end, ordinal)",
        id,
        &all().collect::<Vec<_>>(),
        &starts,
        &ends
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(CreateBackfill::Done(id))
}

/// Previews what a backfill would do for each date in the current state of the DAG.
#[boxed]
pub async fn plan_backfill(
    db: &mut PgConnection,
    versions: &mut Versions,
    new: &NewBackfill,
) -> StoreResult<CreateBackfill<Planned>> {
    let dag = sqlx::query!(r#"select version, now() as "now!" from dag where dag_id = $1"#, new.dag_id);
    let Some(dag) = dag.fetch_optional(&mut *db).await? else { return Ok(CreateBackfill::NoSuchDag) };
    let version: Arc<Version> = versions.get(db, dag.version).await?;
    let spec = &version.plan.spec;
    let dates = match dates(spec, &new.wish, dag.now) {
        Ok(dates) if dates.is_empty() => return Ok(CreateBackfill::NoDate),
        Ok(dates) => dates,
        Err(why) => return Ok(CreateBackfill::Cannot(why)),
    };
    if let Some(conf) = &new.conf
        && let Err(bad) = check_conf(spec.params_schema.as_ref(), conf)
    {
        return Ok(CreateBackfill::BadConf(bad));
    }
    let tasks = match &new.part {
        None => None,
        Some(wanted) => match chosen(&version.plan, wanted) {
            Ok(tasks) if tasks.is_empty() => return Ok(CreateBackfill::NoTask),
            Ok(tasks) => Some(tasks.iter().map(|&task| version.plan.task_id(task).to_string()).collect()),
            Err(error) => return Ok(CreateBackfill::BadRegex(error)),
        },
    };
    let there = runs_of(db, &new.dag_id, &dates).await?;
    Ok(CreateBackfill::Done(Planned { dates: plan(&dates, &there, new.wish.reprocess), tasks }))
}

/// Returns the selected tasks of a DAG version, or the reason why the regular expression cannot be used.
pub(super) fn chosen(plan: &Plan, wanted: &BackfillTasks) -> Result<BTreeSet<TaskIdx>, String> {
    let regex = compile(&wanted.regex)?;
    let tasks = (0..).zip(&plan.spec.tasks).filter(|(_, task)| regex.is_match(&task.task_id));
    let named: Vec<TaskIdx> = tasks.map(|(place, _)| place).collect();
    Ok(part(plan, &named, wanted.upstream))
}

async fn runs_of(
    db: &mut PgConnection,
    dag_id: &str,
    dates: &[Date],
) -> StoreResult<BTreeMap<DateTime<Utc>, RunState>> {
    let dates: Vec<DateTime<Utc>> = dates.iter().map(|date| date.logical_date).collect();
    let rows = sqlx::query!(
        r#"select logical_date as "date!", state::text as "state!" from dag_run
        where dag_id = $1 and logical_date = any($2)"#,
        dag_id,
        &dates
    );
    rows.fetch_all(db).await?.into_iter().map(|row| Ok((row.date, word(&row.state)?))).collect()
}
