//! Registers the DAGs of a bundle. Creates a version if the structure of a DAG is new, updates the DAG's descriptive
//! fields, and recomputes its next run if the schedule changed. A registration is one transaction with a constant
//! number of statements, regardless of the number of DAGs.

use crate::{
    StoreError, StoreResult, asset, boxed,
    version::{self, Version, load_all},
};
use chrono::{DateTime, Utc};
use orch_core::plan::Plan;
use orch_spec::DagSpec;
use orch_spec::schedule::{Bounds, Calendar, DataInterval, NextRun};
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::sync::Arc;

/// Default for the maximum number of active runs of a DAG, the same as in Airflow.
pub const MAX_ACTIVE_RUNS: u32 = 16;

/// A bundle: the DAGs that a worker can run, from one binary or folder.
#[derive(Debug, Clone)]
pub struct NewBundle {
    pub name: String,
    pub dags: Vec<Arc<DagSpec>>,
}

/// A DAG version of the bundle, as stored in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub dag_id: String,
    pub version_id: i32,
    pub number: i32,
    /// True if this registration created the version.
    pub new: bool,
}

/// The fields of a DAG before this registration that decide whether its next run must be recomputed.
struct Before {
    schedule: Option<Value>,
    last: Option<DataInterval>,
}

/// Registers all DAGs of a bundle, and returns their versions in the same order. `paused_at_creation` applies to new
/// DAGs that do not define it themselves.
#[boxed]
pub async fn register_bundle(
    db: &mut PgConnection,
    bundle: &NewBundle,
    paused_at_creation: bool,
) -> StoreResult<Vec<Registered>> {
    register(db, bundle, paused_at_creation, Newer::Stays).await
}

/// Registers DAGs from the files of a folder. Their versions become current even if live workers offer newer ones,
/// because all workers read the same folder and no worker is outdated.
#[boxed]
pub async fn register_files(
    db: &mut PgConnection,
    bundle: &NewBundle,
    paused_at_creation: bool,
) -> StoreResult<Vec<Registered>> {
    register(db, bundle, paused_at_creation, Newer::GivesWay).await
}

/// Registers the DAGs of a binary that replaces another binary. Its versions become current even if live workers offer
/// newer ones.
#[boxed]
pub async fn take_over(
    db: &mut PgConnection,
    bundle: &NewBundle,
    paused_at_creation: bool,
) -> StoreResult<Vec<Registered>> {
    register(db, bundle, paused_at_creation, Newer::GivesWay).await
}

/// What happens to the current version of a DAG if it is newer than the registered one and a live worker offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newer {
    Stays,
    GivesWay,
}

async fn register(
    db: &mut PgConnection,
    bundle: &NewBundle,
    paused_at_creation: bool,
    newer: Newer,
) -> StoreResult<Vec<Registered>> {
    if bundle.dags.is_empty() {
        return Ok(Vec::new());
    }
    let hashes: Vec<String> = bundle.dags.iter().map(|dag| dag.version()).collect();
    let mut tx = db.begin().await?;
    sqlx::query!("select pg_advisory_xact_lock(hashtext('orch register_bundle'))").execute(&mut *tx).await?;
    let registered = insert_versions(&mut tx, bundle, &hashes).await?;
    let (now, before) = known_dags(&mut tx, bundle).await?;
    let words = bundle.dags.iter().zip(&registered).map(|(dag, version)| {
        let old = before.get(dag.dag_id.as_str());
        let schedule = scheduling(dag);
        let rescheduled = old.is_none_or(|old| old.schedule.as_ref() != Some(&schedule));
        let next = rescheduled.then(|| next_run(dag, old.and_then(|o| o.last), now)).flatten();
        words(dag, version, paused_at_creation, rescheduled, next)
    });
    let words = Value::Array(words.collect()).to_string();
    upsert_dags(&mut tx, &bundle.name, &words, newer).await?;
    asset::put_uses(&mut tx, &bundle.dags, &registered).await?;
    tx.commit().await?;
    Ok(registered)
}

/// Loads the versions with these ids, in the order of `ids`.
#[boxed]
pub async fn versions_of(db: &mut PgConnection, ids: &[i32]) -> StoreResult<Vec<Version>> {
    load_all(db, ids).await
}

/// Prepares the versions of a bundle that was just registered. Uses the DAGs that the caller already has instead of
/// loading them.
#[boxed]
pub async fn prepare(
    db: &mut PgConnection,
    bundle: &NewBundle,
    registered: &[Registered],
) -> StoreResult<Vec<Version>> {
    let mut plans = Vec::with_capacity(bundle.dags.len());
    for dag in &bundle.dags {
        plans.push(Plan::new(dag.clone()).map_err(|e| StoreError::corrupt(e.to_string()))?);
    }
    let plans = plans.into_iter().zip(registered).map(|(plan, r)| (r.version_id, r.number, plan)).collect();
    version::prepare(db, plans).await
}

/// Returns the next scheduled run of a DAG after the interval `last`, or `None` if there is none. An invalid schedule
/// also returns `None`, but a DAG with an invalid schedule is rejected before registration.
pub fn next_run(dag: &DagSpec, last: Option<DataInterval>, now: DateTime<Utc>) -> Option<NextRun> {
    let calendar = Calendar::new(&dag.schedule, dag.timetable).ok()?;
    calendar.next_run(last, &Bounds::from(dag), now)
}

/// Returns the lower of two limits on active runs: the limit of the DAG and the limit of its schedule.
fn max_active_runs(dag: &DagSpec) -> u32 {
    let own = dag.max_active_runs.unwrap_or(MAX_ACTIVE_RUNS).clamp(1, i32::MAX as u32);
    let calendar = Calendar::new(&dag.schedule, dag.timetable).ok();
    calendar.and_then(|c| c.active_runs_limit()).map_or(own, |limit| own.min(limit))
}

/// Returns the versions that are already registered, for those DAGs of the bundle whose structure is unchanged. They
/// are in the order of the bundle.
#[boxed]
pub async fn registered_versions(db: &mut PgConnection, bundle: &NewBundle) -> StoreResult<Vec<Registered>> {
    let hashes: Vec<String> = bundle.dags.iter().map(|dag| dag.version()).collect();
    let known = known_versions(db, bundle, &hashes).await?;
    let registered = bundle.dags.iter().filter_map(|dag| {
        let (version_id, number) = *known.get(&dag.dag_id)?;
        Some(Registered { dag_id: dag.dag_id.clone(), version_id, number, new: false })
    });
    Ok(registered.collect())
}

/// Returns id and number of each registered version that has the same structure hash as the DAG in the bundle, by DAG
/// id.
async fn known_versions(
    db: &mut PgConnection,
    bundle: &NewBundle,
    hashes: &[String],
) -> StoreResult<HashMap<String, (i32, i32)>> {
    let ids: Vec<String> = bundle.dags.iter().map(|dag| dag.dag_id.clone()).collect();
    let known = sqlx::query!(
        "select v.dag_id, v.id, v.number from unnest($1::text[], $2::text[]) as b (dag_id, hash)
        join dag_version v on v.dag_id = b.dag_id and v.hash = b.hash",
        &ids,
        hashes
    )
    .fetch_all(db)
    .await?;
    Ok(known.into_iter().map(|version| (version.dag_id, (version.id, version.number))).collect())
}

async fn insert_versions(db: &mut PgConnection, bundle: &NewBundle, hashes: &[String]) -> StoreResult<Vec<Registered>> {
    let mut found: HashMap<String, (i32, i32, bool)> = known_versions(db, bundle, hashes)
        .await?
        .into_iter()
        .map(|(dag_id, (id, number))| (dag_id, (id, number, false)))
        .collect();
    let missing = bundle.dags.iter().zip(hashes).filter(|(dag, _)| !found.contains_key(&dag.dag_id));
    let missing: Vec<Value> =
        missing.map(|(dag, hash)| json!({ "dag_id": dag.dag_id, "hash": hash, "spec": dag })).collect();
    if !missing.is_empty() {
        let new = sqlx::query!(
            "insert into dag_version (dag_id, number, hash, bundle, spec)
            select b.dag_id, 1 + coalesce((select max(v.number) from dag_version v where v.dag_id = b.dag_id), 0),
              b.hash, $2, b.spec
            from json_to_recordset($1::text::json) as b (dag_id text, hash text, spec json) returning dag_id, id, number",
            Value::Array(missing).to_string(),
            bundle.name
        )
        .fetch_all(&mut *db)
        .await?;
        found.extend(new.into_iter().map(|v| (v.dag_id, (v.id, v.number, true))));
    }
    let registered = bundle.dags.iter().map(|dag| {
        let (version_id, number, new) = found[&dag.dag_id];
        Registered { dag_id: dag.dag_id.clone(), version_id, number, new }
    });
    Ok(registered.collect())
}

async fn known_dags(
    db: &mut PgConnection,
    bundle: &NewBundle,
) -> StoreResult<(DateTime<Utc>, HashMap<String, Before>)> {
    let ids: Vec<String> = bundle.dags.iter().map(|dag| dag.dag_id.clone()).collect();
    let rows = sqlx::query!(
        r#"select now() as "now!", d.dag_id as "dag_id?", v.spec->'schedule' as schedule, v.spec->'timetable' as timetable,
          v.spec->'start' as start, v.spec->'end' as "end", v.spec->'catchup' as catchup,
          last.interval_start as "interval_start?", last.interval_end as "interval_end?"
        from unnest($1::text[]) as b (dag_id)
        left join dag d on d.dag_id = b.dag_id left join dag_version v on v.id = d.version
        left join lateral (select r.interval_start, r.interval_end from dag_run r
          where r.dag_id = d.dag_id and r.run_type = 'scheduled' order by r.run_after desc limit 1) last on true"#,
        &ids
    )
    .fetch_all(db)
    .await?;
    let now = rows.first().map_or_else(DateTime::default, |row| row.now);
    let before = rows.into_iter().filter_map(|row| {
        let schedule = json!([row.schedule, row.timetable, row.start, row.end, row.catchup]);
        let last = row.interval_start.zip(row.interval_end).map(|(start, end)| DataInterval { start, end });
        Some((row.dag_id?, Before { schedule: Some(schedule), last }))
    });
    Ok((now, before.collect()))
}

/// Returns the fields of a DAG that determine its next run, in the same JSON format as the stored ones in `known_dags`.
fn scheduling(dag: &DagSpec) -> Value {
    json!([dag.schedule, dag.timetable, dag.start, dag.end, dag.catchup])
}

/// Removes NUL characters, because Postgres cannot store them in text.
fn text(words: &str) -> String {
    words.replace('\0', "")
}

fn texts(words: &[String]) -> Vec<String> {
    words.iter().map(|w| text(w)).collect()
}

fn words(dag: &DagSpec, version: &Registered, paused: bool, rescheduled: bool, next: Option<NextRun>) -> Value {
    let interval = next.and_then(|n| n.data_interval);
    json!({
        "dag_id": dag.dag_id, "version": version.version_id, "number": version.number,
        "description": text(&dag.description), "tags": texts(&dag.tags), "owners": texts(&dag.owners),
        "aliases": texts(&dag.aliases), "file": text(&dag.location.file),
        "is_paused": dag.paused_at_creation.unwrap_or(paused), "schedule_text": text(&dag.schedule.describe()),
        "max_active_runs": max_active_runs(dag), "max_failed": dag.max_consecutive_failed_runs.min(i32::MAX as u32),
        "overlap": dag.overlap, "rescheduled": rescheduled, "next_run_after": next.map(|n| n.run_after),
        "next_logical_date": next.and_then(|n| n.logical_date),
        "next_interval_start": interval.map(|i| i.start), "next_interval_end": interval.map(|i| i.end),
    })
}

/// Updates the rows of the DAGs. With `Newer::Stays`, an older binary that restarts does not replace a newer version
/// that a live worker offers. After a rollback of the binary, no worker offers the newer version, so the older version
/// becomes current again.
async fn upsert_dags(db: &mut PgConnection, bundle: &str, words: &str, newer: Newer) -> StoreResult<()> {
    let stays = newer == Newer::Stays;
    sqlx::query_file!("queries/registry/upsert_dags.sql", words, bundle, stays).execute(&mut *db).await?;
    sqlx::query!(
        "update dag d set next_run_after = w.next_run_after, next_logical_date = w.next_logical_date,
          next_interval_start = w.next_interval_start, next_interval_end = w.next_interval_end
        from json_to_recordset($1::text::json) as w (dag_id text, version integer, rescheduled boolean, next_run_after timestamptz,
          next_logical_date timestamptz, next_interval_start timestamptz, next_interval_end timestamptz)
        where d.dag_id = w.dag_id and d.version = w.version and w.rescheduled",
        words
    )
    .execute(db)
    .await?;
    Ok(())
}
