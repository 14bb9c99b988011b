//! Advances backfills: records which of their runs have ended, and creates runs for the next dates up to the limit.
//!
//! A date leaves the state `planned` in the transaction that creates its run, under the lock of its backfill. So a
//! crash leaves no date half processed, and a second scheduler finds nothing to do. Lock order: backfill before DAG.

use super::create::{BackfillTasks, chosen};
use crate::{
    StoreError, StoreResult, boxed,
    clear::{ClearScope, clear_instances},
    locks::{DagLock, Dags, Locks},
    narrow,
    run::{CreateRun, MoveRun, NewRun, create_run_of, move_run, word},
    step::Stepper,
    version::{Version, Versions},
};
use orch_core::backfill::{Action, Reason, Reprocess, action};
use orch_core::plan::TaskIdx;
use orch_core::select::Selection;
use orch_core::transition::Selected;
use orch_spec::ids::RunId;
use orch_spec::schedule::{DataInterval, run_id};
use orch_spec::state::{RunType, TriggeredBy};
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paced {
    /// Number of runs that were created or restarted.
    pub runs: usize,
    /// Number of dates that needed no run.
    pub skipped: usize,
    pub completed: bool,
}

/// Returns backfills that have work: one of their runs has ended, they have a free slot for a run, or no dates remain.
#[boxed]
pub async fn due_backfills(db: &mut PgConnection, most: i64) -> StoreResult<Vec<i32>> {
    let due = sqlx::query_scalar!(
        "select b.id from backfill b join dag d on d.dag_id = b.dag_id where b.completed_at is null and (
            exists (select from backfill_run x left join dag_run r on r.id = x.run
              where x.backfill = b.id and x.state = 'active' and coalesce(r.state in ('success', 'failed'), true))
            or not b.is_paused and not d.is_paused and not d.is_stale
              and exists (select from backfill_run x where x.backfill = b.id and x.state = 'planned')
              and (select count(*) from backfill_run x where x.backfill = b.id and x.state = 'active') < b.max_active_runs
            or not exists (select from backfill_run x where x.backfill = b.id and x.state in ('planned', 'active')))
        order by b.id limit $1",
        most
    );
    Ok(due.fetch_all(db).await?)
}

/// A backfill that is being advanced.
struct Going {
    dag_id: String,
    reprocess: Reprocess,
    latest: bool,
    conf: Option<Value>,
    part: Option<BackfillTasks>,
    user: Option<String>,
}

struct DueBackfillDate {
    ordinal: i32,
    date: chrono::DateTime<chrono::Utc>,
    interval: DataInterval,
}

/// Processes at most `most` dates of a backfill. Does nothing if another scheduler holds its lock. The caller sends
/// `Hint::Ready` and `Hint::Run` if runs were created, and calls again while the backfill is due.
#[boxed]
pub async fn pace(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    id: i32,
    most: i64,
) -> StoreResult<Paced> {
    let mut tx = db.begin().await?;
    let row = sqlx::query!(
        "select dag_id, reprocess, latest, conf, task_regex, with_upstream, created_by, is_paused, max_active_runs
        from backfill where id = $1 and completed_at is null for no key update skip locked",
        id
    );
    let Some(row) = row.fetch_optional(&mut *tx).await? else {
        tx.rollback().await?;
        return Ok(Paced::default());
    };
    settle(&mut tx, id).await?;
    let going = Going {
        dag_id: row.dag_id,
        reprocess: word(&row.reprocess)?,
        latest: row.latest,
        conf: row.conf,
        part: row.task_regex.map(|regex| BackfillTasks { regex, upstream: row.with_upstream }),
        user: row.created_by,
    };
    let mut paced = Paced::default();
    if !row.is_paused {
        begin(&mut tx, locks, versions, (id, &going), (row.max_active_runs, most), &mut paced).await?;
    }
    let completed = sqlx::query!(
        "update backfill b set updated_at = now(), completed_at = now() where id = $1
          and not exists (select from backfill_run x where x.backfill = $1 and x.state in ('planned', 'active'))",
        id
    );
    paced.completed = completed.execute(&mut *tx).await?.rows_affected() > 0;
    tx.commit().await?;
    Ok(paced)
}

/// Records the outcomes of runs of the backfill that have ended or were deleted.
pub(super) async fn settle(db: &mut PgConnection, id: i32) -> StoreResult<()> {
    sqlx::query!(
        "update backfill_run x set state = coalesce((select r.state::text from dag_run r where r.id = x.run), 'dropped'),
          why = case when exists (select from dag_run r where r.id = x.run) then x.why else 'its run was deleted' end
        where x.backfill = $1 and x.state = 'active'
          and not exists (select from dag_run r where r.id = x.run and r.state in ('queued', 'running'))",
        id
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Processes the next dates until the limit of the backfill is reached. Dates that need no run do not count against the
/// limit.
async fn begin(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    (id, going): (i32, &Going),
    (max_active_runs, most): (i32, i64),
    paced: &mut Paced,
) -> StoreResult<()> {
    // This lock blocks a concurrent pause of the DAG, so that the runs that are created here also start.
    let dag = sqlx::query!(
        "select version, is_paused or is_stale as \"rests!\" from dag where dag_id = $1 for no key update",
        going.dag_id
    );
    let Some(dag) = dag.fetch_optional(&mut *db).await?.filter(|dag| !dag.rests) else { return Ok(()) };
    let lock = locks.dag(&going.dag_id);
    let newest = versions.get(db, dag.version).await?;
    let active = sqlx::query_scalar!(
        r#"select count(*) as "active!" from backfill_run where backfill = $1 and state = 'active'"#,
        id
    );
    let mut room = i64::from(max_active_runs) - active.fetch_one(&mut *db).await?;
    let rows = sqlx::query!(
        "select ordinal, logical_date, interval_start, interval_end from backfill_run
        where backfill = $1 and state = 'planned' order by ordinal limit $2",
        id,
        most
    );
    for row in rows.fetch_all(&mut *db).await? {
        if room <= 0 {
            break;
        }
        let interval = DataInterval { start: row.interval_start, end: row.interval_end };
        let next = DueBackfillDate { ordinal: row.ordinal, date: row.logical_date, interval };
        let (run, why) = match one(db, &lock, versions, going, &newest, &next).await? {
            BackfillDateOutcome::Run(run, why) => (Some(run), why),
            BackfillDateOutcome::Skipped(reason) => (None, Some(reason)),
        };
        sqlx::query!(
            "update backfill_run set state = $3, run = $4, why = $5 where backfill = $1 and ordinal = $2",
            id,
            next.ordinal,
            if run.is_some() { "active" } else { "skipped" },
            run,
            why
        )
        .execute(&mut *db)
        .await?;
        if run.is_some() {
            room -= 1;
            paced.runs += 1;
        } else {
            paced.skipped += 1;
        }
    }
    Ok(())
}

enum BackfillDateOutcome {
    Run(Uuid, Option<String>),
    Skipped(String),
}

impl From<Reason> for BackfillDateOutcome {
    fn from(reason: Reason) -> BackfillDateOutcome {
        BackfillDateOutcome::Skipped(reason.to_string())
    }
}

impl From<CreateRun> for BackfillDateOutcome {
    fn from(created: CreateRun) -> BackfillDateOutcome {
        match created {
            CreateRun::Created(run) => BackfillDateOutcome::Run(run.id, None),
            CreateRun::BadConf(bad) => {
                BackfillDateOutcome::Skipped(format!("its conf does not fit the params of the DAG: {bad}"))
            }
            CreateRun::NoSuchDag => BackfillDateOutcome::Skipped("the DAG was deleted".into()),
            CreateRun::RunIdTaken | CreateRun::LogicalDateTaken | CreateRun::Same(_) | CreateRun::OtherRequest => {
                Reason::AlreadyExists.into()
            }
        }
    }
}

async fn one(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    going: &Going,
    newest: &Arc<Version>,
    next: &DueBackfillDate,
) -> StoreResult<BackfillDateOutcome> {
    // Locks the run, so that it is not ended or cleared meanwhile.
    let there = sqlx::query!(
        r#"select id, version, state::text as "state!" from dag_run where dag_id = $1 and logical_date = $2
        for no key update"#,
        going.dag_id,
        next.date
    );
    let there = there.fetch_optional(&mut *db).await?;
    let state = there.as_ref().map(|run| word(&run.state)).transpose()?;
    match (action(state, going.reprocess), there) {
        (Action::Skip(reason), _) => Ok(reason.into()),
        (Action::Rerun, Some(run)) => {
            let version = versions.get(db, run.version).await?;
            again(db, dag, versions, going, (run.id, &version), newest).await
        }
        (Action::Create | Action::Rerun, _) => create(db, dag, versions, going, newest, next).await,
    }
}

async fn create(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    going: &Going,
    newest: &Arc<Version>,
    next: &DueBackfillDate,
) -> StoreResult<BackfillDateOutcome> {
    let name = run_id(RunType::Backfill, next.interval.end, Some(next.date), "");
    let new = NewRun {
        run_id: Some(RunId::new(&name).map_err(|e| StoreError::corrupt(e.to_string()))?),
        logical_date: Some(next.date),
        interval: Some(next.interval),
        run_after: Some(next.interval.end),
        conf: going.conf.clone(),
        user: going.user.clone(),
        tasks: match &going.part {
            None => None,
            Some(part) => Some(task_ids(newest, part)?),
        },
        ..NewRun::of(&going.dag_id, RunType::Backfill, TriggeredBy::Backfill)
    };
    Ok(create_run_of(db, dag, versions, &new).await?.into())
}

fn tasks_of(version: &Version, part: &BackfillTasks) -> StoreResult<Vec<TaskIdx>> {
    let chosen = chosen(&version.plan, part).map_err(|e| StoreError::corrupt(format!("a task regex: {e}")))?;
    Ok(chosen.into_iter().collect())
}

fn task_ids(version: &Version, part: &BackfillTasks) -> StoreResult<Vec<String>> {
    Ok(tasks_of(version, part)?.into_iter().map(|task| version.plan.task_id(task).to_string()).collect())
}

/// Turns a finished run into a run of the backfill, and clears it.
async fn again(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    going: &Going,
    (run, version): (Uuid, &Arc<Version>),
    newest: &Arc<Version>,
) -> StoreResult<BackfillDateOutcome> {
    // Must happen before the clear, which enqueues tasks with the priority of the run type.
    sqlx::query!(
        "update dag_run set run_type = 'backfill', triggered_by = 'backfill', triggered_by_user = $2 where id = $1",
        run,
        going.user
    )
    .execute(&mut *db)
    .await?;
    if let Some(conf) = &going.conf {
        sqlx::query!(
            "insert into dag_run_detail (run, conf) values ($1, $2::text::json)
            on conflict (run) do update set conf = excluded.conf",
            run,
            conf.to_string()
        )
        .execute(&mut *db)
        .await?;
    }
    let tasks = match &going.part {
        None => (0..narrow::task(version.plan.tasks.len())).collect(),
        Some(part) => tasks_of(version, part)?,
    };
    let tasks = tasks.into_iter().map(|task| Selected { task, index: None }).collect();
    let wish = ClearScope {
        selection: Selection { tasks, ..Selection::default() },
        version: Some(version.id),
        states: Vec::new(),
    };
    let cleared = clear_instances(db, dag.runs(), &mut Stepper::default(), versions, run, &wish).await?;
    if cleared.is_none_or(|cleared| cleared.instances.is_empty()) {
        return Ok(BackfillDateOutcome::Skipped("nothing of its run can run again".into()));
    }
    if !going.latest || version.id == newest.id {
        return Ok(BackfillDateOutcome::Run(run, None));
    }
    match move_run(db, dag.runs(), versions, run, newest.id).await? {
        MoveRun::CannotMove(why) => Ok(BackfillDateOutcome::Run(run, Some(format!("in its own version: {why}")))),
        _ => Ok(BackfillDateOutcome::Run(run, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_spec::params::check_conf;
    use serde_json::json;

    #[test]
    fn a_skipped_date_names_the_reason_why_no_run_was_created() {
        let why = |created: CreateRun| match BackfillDateOutcome::from(created) {
            BackfillDateOutcome::Skipped(why) => why,
            BackfillDateOutcome::Run(run, _) => panic!("{run}"),
        };
        let schema = json!({ "type": "object", "properties": { "limit": { "type": "integer" } } });
        let bad = check_conf(Some(&schema), &json!({ "limit": "many" })).expect_err("it is not a number");
        let reason = why(CreateRun::BadConf(bad));
        assert!(reason.starts_with("its conf does not fit") && reason.contains("limit"), "{reason}");
        assert_eq!(why(CreateRun::NoSuchDag), "the DAG was deleted");
        let exists = Reason::AlreadyExists.to_string();
        assert_eq!([CreateRun::RunIdTaken, CreateRun::LogicalDateTaken].map(why), [exists.clone(), exists]);
    }
}
