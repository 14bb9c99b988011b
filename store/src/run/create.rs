//! Creates runs. A run starts in the same statement if nothing prevents it, so a trigger costs a single commit.

use super::insert::{Inserted, NewRun, Reached, RunRow, insert, interval};
use super::{policy, word};
use crate::{
    StoreError, StoreResult, boxed, deadline,
    locks::{DagLock, Dags, Locks},
    version::{Version, Versions},
};
use orch_core::overlap::has_policy;
use orch_spec::params::{BadConf, check_conf};
use orch_spec::state::{RunState, RunType};
use serde_json::Value;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub enum CreateRun {
    Created(RunRow),
    /// A request with the same idempotency key created this run earlier.
    Same(RunRow),
    /// A different request has already used the idempotency key.
    OtherRequest,
    RunIdTaken,
    /// The DAG already has a run with this logical date.
    LogicalDateTaken,
    /// The run configuration of a manual run does not match the params of the DAG's newest version.
    BadConf(BadConf),
    NoSuchDag,
}

/// Maximum number of attempts to create a run. An attempt is repeated if the DAG gets a new version during it.
const LOOKS: usize = 5;

/// Creates a run. Afterwards, the caller sends the hints (wake-up signals) of the result.
#[boxed]
pub async fn create_run(
    db: &mut PgConnection,
    locks: Locks<Dags>,
    versions: &mut Versions,
    new: &NewRun,
) -> StoreResult<CreateRun> {
    // This transaction locks no other row before the DAG's row.
    create_run_of(db, &locks.dag(&new.dag_id), versions, new).await
}

/// Like [`create_run`], but for a transaction that has already locked the DAG.
#[boxed]
pub async fn create_run_of(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    new: &NewRun,
) -> StoreResult<CreateRun> {
    if let Some(key) = &new.idempotency_key
        && let Some(same) = of_key(db, key, new).await?
    {
        return Ok(same);
    }
    let id = Uuid::now_v7();
    versions.make_leaf(db, id).await?;
    for _ in 0..LOOKS {
        let guess = match versions.newest(&new.dag_id) {
            Some(id) => id,
            None => match newest_version(db, &new.dag_id).await? {
                Some(id) => id,
                None => return Ok(CreateRun::NoSuchDag),
            },
        };
        let version = versions.get(db, guess).await?;
        versions.set_newest(&new.dag_id, guess);
        if let Err(bad) = check(&version, new) {
            // Retry if the DAG has a newer version, because that version may accept the run configuration.
            match newest_version(db, &new.dag_id).await? {
                None => return Ok(CreateRun::NoSuchDag),
                Some(newest) if newest == guess => return Ok(CreateRun::BadConf(bad)),
                Some(newest) => versions.set_newest(&new.dag_id, newest),
            }
            continue;
        }
        let inserted = if version.plan.spec.deadlines.is_empty() {
            put(db, dag, versions, &version, id, new).await
        } else {
            with_deadlines(db, dag, versions, &version, id, new).await
        };
        match inserted {
            Ok(Inserted::Run(run)) => return Ok(CreateRun::Created(run)),
            Ok(Inserted::NoSuchDag) => return Ok(CreateRun::NoSuchDag),
            Ok(Inserted::Taken) => return why_taken(db, new).await,
            Ok(Inserted::NewerVersion(newer)) => versions.set_newest(&new.dag_id, newer),
            Err(error) if error.constraint() == Some("dag_run_detail_idempotency_key_key") => {
                let key = new.idempotency_key.as_deref().unwrap_or_default();
                return of_key(db, key, new).await?.ok_or(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::TryAgain(sqlx::Error::RowNotFound))
}

async fn put(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    version: &Arc<Version>,
    id: Uuid,
    new: &NewRun,
) -> StoreResult<Inserted> {
    if has_policy(&version.plan.spec) {
        policy::create(db, dag, versions, version, id, new).await
    } else {
        insert(db, version, id, new, Reached::MayBegin).await
    }
}

/// Inserts a run of a DAG that has deadlines, and stores the deadlines of the run.
async fn with_deadlines(
    db: &mut PgConnection,
    dag: &DagLock,
    versions: &mut Versions,
    version: &Arc<Version>,
    id: Uuid,
    new: &NewRun,
) -> StoreResult<Inserted> {
    let mut tx = db.begin().await?;
    let mut inserted = put(&mut tx, dag, versions, version, id, new).await?;
    if let Inserted::Run(run) = &mut inserted {
        deadline::set(&mut tx, version, id).await?;
        run.to_look_at = true;
    }
    tx.commit().await?;
    Ok(inserted)
}

/// Validates the run configuration of manual and operator-triggered runs. The configurations of other runs were
/// validated with the DAG.
fn check(version: &Version, new: &NewRun) -> Result<(), BadConf> {
    match new.run_type {
        RunType::Manual | RunType::OperatorTriggered => {
            let nothing = Value::Object(serde_json::Map::new());
            check_conf(version.plan.spec.params_schema.as_ref(), new.conf.as_ref().unwrap_or(&nothing))
        }
        _ => Ok(()),
    }
}

async fn newest_version(db: &mut PgConnection, dag_id: &str) -> StoreResult<Option<i32>> {
    Ok(sqlx::query_scalar!("select version from dag where dag_id = $1", dag_id).fetch_optional(db).await?)
}

async fn why_taken(db: &mut PgConnection, new: &NewRun) -> StoreResult<CreateRun> {
    let dated = sqlx::query_scalar!(
        r#"select exists (select from dag_run where dag_id = $1 and logical_date = $2) as "dated!""#,
        new.dag_id,
        new.logical_date
    );
    let named = sqlx::query_scalar!(
        r#"select exists (select from dag_run where dag_id = $1 and run_id = $2) as "named!""#,
        new.dag_id,
        new.run_id.as_deref()
    );
    if named.fetch_one(&mut *db).await? || !dated.fetch_one(db).await? {
        return Ok(CreateRun::RunIdTaken);
    }
    Ok(CreateRun::LogicalDateTaken)
}

async fn of_key(db: &mut PgConnection, key: &str, new: &NewRun) -> StoreResult<Option<CreateRun>> {
    let row = sqlx::query!(
        r#"select r.id, r.dag_id, r.run_id, r.state::text as "state!", r.run_after, r.interval_start, r.interval_end,
          r.created_at, r.started_at, r.ended_at, r.version, v.number, v.created_at as version_created_at, v.bundle, d.request_hash
        from dag_run_detail d join dag_run r on r.id = d.run join dag_version v on v.id = r.version
        where d.idempotency_key = $1"#,
        key
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // Runs from before request hashes were introduced have no hash, so only their key is compared.
    if row.request_hash.zip(new.request_hash.as_ref()).is_some_and(|(then, now)| then != *now) {
        return Ok(Some(CreateRun::OtherRequest));
    }
    let state: RunState = word(&row.state)?;
    Ok(Some(CreateRun::Same(RunRow {
        id: row.id,
        dag_id: row.dag_id,
        run_id: row.run_id,
        state,
        run_after: row.run_after,
        interval: interval(row.interval_start, row.interval_end),
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        version: row.version,
        version_number: row.number,
        version_created_at: row.version_created_at,
        bundle: row.bundle,
        started: state != RunState::Queued,
        stopping: false,
        to_look_at: false,
    })))
}
