//! Change detection queries that live pages poll. Each function is a single SQL statement, regardless of how many
//! objects are watched.

use crate::{
    StoreResult, boxed,
    log::{Chunk, LogCursor},
};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

/// Revision of a run, and whether the run has finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLook {
    pub run: Uuid,
    pub rev: i32,
    pub is_over: bool,
}

/// An instance whose log a page watches. `attempt` is the attempt shown, or `None` if the instance has not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TryKey {
    pub run: Uuid,
    pub task: i16,
    pub map_index: i32,
    pub attempt: Option<Uuid>,
}

/// State of an instance, and the end of the log of the attempt that the page shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TryLook {
    pub rev: i32,
    pub run_is_over: bool,
    /// Current attempt of the instance. It differs from the watched attempt after a retry.
    pub attempt: Option<Uuid>,
    pub lease_no: Option<i32>,
    pub state: Option<String>,
    pub end_lease: Option<i32>,
    pub end_seq: Option<i32>,
}

impl TryLook {
    pub fn end(&self) -> Option<LogCursor> {
        Some(LogCursor { lease_no: self.end_lease?, seq: self.end_seq? })
    }
}

/// Returns the revision of each run. Runs that no longer exist are omitted.
#[boxed]
pub async fn look_at_runs(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<Vec<RunLook>> {
    let looks = sqlx::query_as!(
        RunLook,
        r#"select id as run, rev, state in ('success', 'failed') as "is_over!" from dag_run where id = any($1)"#,
        runs
    );
    Ok(looks.fetch_all(db).await?)
}

/// State of all runs of a DAG, as far as a page needs it to detect changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagLook {
    pub dag_id: String,
    /// Hash that changes when the DAG is paused, resumed or changed, and when one of its runs is created, starts,
    /// advances or ends.
    pub mark: i64,
    pub is_running: bool,
}

/// Returns the state of each DAG. DAGs that no longer exist are omitted.
#[boxed]
pub async fn look_at_dags(db: &mut PgConnection, dag_ids: &[Arc<str>]) -> StoreResult<Vec<DagLook>> {
    let dag_ids: Vec<String> = dag_ids.iter().map(ToString::to_string).collect();
    let looks = sqlx::query_as!(
        DagLook,
        r#"select d.dag_id, hashtextextended(concat_ws(' ', d.is_paused, d.is_stale, d.version, o.sum, l.id, l.rev), 0) as "mark!",
          o.is_running as "is_running!"
        from dag d
        cross join lateral (select sum(hashtextextended(concat_ws(' ', id, rev, state), 0)) as sum,
          coalesce(bool_or(state = 'running'), false) as is_running
          from dag_run r where r.dag_id = d.dag_id and r.state in ('queued', 'running')) o
        left join lateral (select id, rev from dag_run r where r.dag_id = d.dag_id
          order by run_after desc, id desc limit 1) l on true
        where d.dag_id = any($1)"#,
        &dag_ids
    );
    Ok(looks.fetch_all(db).await?)
}

/// Returns the state of each instance, in the order of `keys`. If the run was deleted, the instance counts as finished.
#[boxed]
pub async fn look_at_tries(db: &mut PgConnection, keys: &[TryKey]) -> StoreResult<Vec<TryLook>> {
    let looks = sqlx::query_as!(
        TryLook,
        r#"select coalesce(r.rev, 0) as "rev!", coalesce(r.state in ('success', 'failed'), true) as "run_is_over!",
          t.attempt as "attempt?", t.lease_no as "lease_no?", t.state as "state?",
          e.lease_no as "end_lease?", e.seq as "end_seq?"
        from unnest($1::uuid[], $2::smallint[], $3::integer[], $4::uuid[])
          with ordinality as k (run, task, map_index, attempt, place)
        left join dag_run r on r.id = k.run
        left join lateral (select attempt, lease_no, state::text from task_instance t
          where t.run = k.run and t.task = k.task and t.map_index = k.map_index) t on true
        left join lateral (select lease_no, seq from log_chunk l where l.run = k.run and l.attempt = k.attempt
          order by lease_no desc, seq desc limit 1) e on true
        order by k.place"#,
        &keys.iter().map(|k| k.run).collect::<Vec<_>>(),
        &keys.iter().map(|k| k.task).collect::<Vec<_>>(),
        &keys.iter().map(|k| k.map_index).collect::<Vec<_>>(),
        &keys.iter().map(|k| k.attempt.unwrap_or(Uuid::nil())).collect::<Vec<_>>()
    );
    Ok(looks.fetch_all(db).await?)
}

/// Returns a hash that changes when any run is created, starts or ends, when any DAG is paused, resumed or changed, or
/// when a backfill is paused, resumed or ends. The cost grows with the number of active runs.
#[boxed]
pub async fn look_at_all(db: &mut PgConnection) -> StoreResult<i64> {
    let mark = sqlx::query_scalar!(
        r#"select hashtextextended(concat_ws(' ',
          (select sum(hashtextextended(id::text || state::text, 0)) from dag_run where state in ('queued', 'running')),
          (select id from dag_run order by id desc limit 1),
          (select sum(hashtextextended(concat_ws(' ', id, is_paused), 0)) from backfill where completed_at is null),
          (select sum(hashtextextended(concat_ws(' ', dag_id, is_paused, is_stale, version), 0)) from dag)), 0) as "mark!""#
    );
    Ok(mark.fetch_one(db).await?)
}

/// Returns a hash that changes when any stream is created, advances, stops or is changed by a user, or when records are
/// appended to a topic of the built-in log.
#[boxed]
pub async fn look_at_streams(db: &mut PgConnection) -> StoreResult<i64> {
    let mark = sqlx::query_scalar!(
        r#"select hashtextextended(concat_ws(' ',
          (select sum(hashtextextended(concat_ws(' ', name, version, epoch, process, is_paused, commits, failed_at, lease_until > now()), 0))
            from stream),
          (select sum(next_offset) from topic_partition)), 0) as "mark!""#
    );
    Ok(mark.fetch_one(db).await?)
}

/// Log chunks that were written after a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// Total number of log lines after the cursor.
    pub lines: i64,
    pub chunks: Vec<Chunk>,
}

/// Returns the last chunks of a log after a cursor. The chunks have at most `most_bytes` bytes in total, but at least
/// one chunk is returned.
#[boxed]
pub async fn news(
    db: &mut PgConnection,
    run: Uuid,
    attempt: Uuid,
    after: LogCursor,
    most_bytes: i64,
) -> StoreResult<News> {
    let rows = sqlx::query!(
        r#"with behind as (
          select lease_no, seq, sum(lines) over () as all_lines,
            sum(octet_length(body)) over w - octet_length(body) as bytes
          from log_chunk where run = $1 and attempt = $2 and (lease_no, seq) > ($3, $4)
          window w as (order by lease_no desc, seq desc)
        )
        select b.lease_no as "lease_no!", b.seq as "seq!", b.all_lines as "all_lines!", l.lines as "lines!",
          l.created_at as "created_at!: DateTime<Utc>", l.body as "body!"
        from behind b join log_chunk l on l.run = $1 and l.attempt = $2 and l.lease_no = b.lease_no and l.seq = b.seq
        where b.bytes < $5 order by 1, 2 limit 1000"#,
        run,
        attempt,
        after.lease_no,
        after.seq,
        most_bytes.max(1)
    )
    .fetch_all(db)
    .await?;
    let lines = rows.first().map_or(0, |row| row.all_lines);
    let chunks = rows.into_iter().map(|row| Chunk {
        lease_no: row.lease_no,
        seq: row.seq,
        lines: row.lines,
        created_at: row.created_at,
        body: row.body,
    });
    Ok(News { lines, chunks: chunks.collect() })
}

/// A run that is active, has ended recently or was created recently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunChange {
    pub run: Uuid,
    pub version: i32,
    pub dag_id: String,
    pub run_id: String,
    pub state: String,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// A task instance that started or ended recently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceChange {
    pub run: Uuid,
    pub task: i16,
    pub map_index: i32,
    pub try_no: i16,
    pub state: String,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

/// Maximum number of runs or instances in one result.
pub const MOST_CHANGES: i64 = 5_000;

/// Returns the time of the database clock. All recorded timestamps are from this clock.
#[boxed]
pub async fn database_clock(db: &mut PgConnection) -> StoreResult<DateTime<Utc>> {
    Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(db).await?)
}

/// Returns all active runs, all runs in `known`, and all runs created since `since`.
#[boxed]
pub async fn runs_to_tell(db: &mut PgConnection, known: &[Uuid], since: DateTime<Utc>) -> StoreResult<Vec<RunChange>> {
    let runs = sqlx::query_as!(
        RunChange,
        r#"with wanted as (
          (select id from dag_run where state in ('queued', 'running') order by id desc limit $3)
          union select unnest($1::uuid[])
          union (select id from dag_run where id >= uuid_of_moment($2) order by id desc limit $3)
        )
        select r.id as run, r.version, r.dag_id, r.run_id, r.state::text as "state!", r.started_at, r.ended_at
        from wanted w join dag_run r on r.id = w.id order by r.id"#,
        known,
        since,
        MOST_CHANGES
    );
    Ok(runs.fetch_all(db).await?)
}

/// Returns the instances of the given runs that started or ended since `since`.
#[boxed]
pub async fn instances_to_tell(
    db: &mut PgConnection,
    runs: &[Uuid],
    since: DateTime<Utc>,
) -> StoreResult<Vec<InstanceChange>> {
    let instances = sqlx::query_as!(
        InstanceChange,
        r#"select run, task, map_index, try_no, state::text as "state!", started_at, ended_at from task_instance
        where run = any($1) and state is not null and (started_at >= $2 or ended_at >= $2)
        order by coalesce(ended_at, started_at), run, task, map_index limit $3"#,
        runs,
        since,
        MOST_CHANGES
    );
    Ok(instances.fetch_all(db).await?)
}
