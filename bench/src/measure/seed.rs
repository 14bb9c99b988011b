//! Creates a large installation by copying really executed runs in SQL: 2,000 DAGs, a million task instances over five
//! weeks, failures with their causes, logs, assets with events and checks, backfills, alerts, approvals.

use anyhow::{Result, ensure};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Number of DAGs, each a chain of five tasks.
pub(crate) const DAGS: u32 = 2_000;
/// Number of runs per DAG. Together with the wide map, this makes a million instances.
const RUNS: i32 = 90;
const RUNS_QUICK: i32 = 9;

/// Ids that the measured pages need.
#[derive(Debug)]
pub(crate) struct Seeded {
    pub(crate) instances: i64,
    pub(crate) run_id: String,
    pub(crate) failed_run_id: String,
    pub(crate) asset: i32,
    pub(crate) backfill: i32,
    /// Id of an open approval.
    pub(crate) approval: String,
}

/// Returns a version 7 UUID for a timestamp, in orch's format.
const FUNCTIONS: &str =
    "create or replace function pg_temp.uuid_at(moment timestamptz) returns uuid language sql volatile as $$
    select (left(uuid_of_moment(moment)::text, 14) || '7' || substr(r, 1, 3) || '-8' || substr(r, 4, 3) || '-'
        || substr(r, 7, 12))::uuid from (select md5(random()::text || clock_timestamp()::text) as r) made $$";

/// Inserts a run of each idle DAG every eight hours. One in twenty failed at its fourth task, and the first task of
/// some took two attempts. No worker executes runs that are in flight, so pages show them unchanged. Rows are inserted
/// in chronological order, as schedulers do.
const RUNS_SQL: &str = "insert into dag_run (id, rev, version, ledger_format, state, run_type, ledger, counters, dag_id,
    run_id, logical_date, interval_start, interval_end, run_after, created_at, started_at, ended_at, triggered_by)
  select pg_temp.uuid_at(at), 5, d.version, t.ledger_format,
    (case when failed then 'failed' else 'success' end)::run_state, 'scheduled',
    case when failed then array[5, 5, 5, 6, 8]::smallint[] else t.ledger end, t.counters, d.dag_id,
    'scheduled__' || isoformat(at), at, at - interval '8 hours', at, at, at, at + interval '1 second',
    at + interval '1 second' * (30 + (hashtext(d.dag_id) % 20)), 'timetable'
  from dag d
  cross join (select ledger, ledger_format, counters from dag_run where dag_id = 'idle_000' and state = 'success' limit 1) t
  cross join generate_series(1, $1) as n
  cross join lateral (select date_trunc('hour', now()) - interval '8 hours' * n - interval '7 seconds' as at,
    (n + hashtext(d.dag_id)) % 20 = 0 as failed) s
  where d.dag_id like 'idle\\_%' order by at
  on conflict do nothing";

const INSTANCES_SQL: &str =
    "insert into task_instance (run, attempt, map_index, worker, rev_ready, rev_end, task, try_no,
    max_tries, lease_no, state, queued_at, started_at, ended_at)
  select r.id, gen_random_uuid(), -1, 1, task, task + 1, task, 1, 0, 1,
    (case when r.state = 'failed' and task = 3 then 'failed' when r.state = 'failed' and task = 4 then 'upstream_failed'
      else 'success' end)::task_state,
    r.started_at + interval '5 seconds' * task, r.started_at + interval '5 seconds' * task,
    r.started_at + interval '5 seconds' * (task + 1)
  from dag_run r cross join generate_series(0, 4) as task
  where r.dag_id like 'idle\\_%' and r.run_type = 'scheduled'
  on conflict do nothing";

const FAILURES_SQL: &str = "insert into failure (run, attempt, lease_no, kind, causes)
  select t.run, t.attempt, 1, 'fatal', array['the source is empty', 'no file of that day']
  from task_instance t where t.state = 'failed' on conflict do nothing";

/// Inserts a log of 8 MB for one instance, and a short one for each failed instance.
const LOGS_SQL: &str = "insert into log_chunk (run, attempt, lease_no, seq, lines, body)
  select t.run, t.attempt, 1, seq, 400, string_agg(json_build_object('timestamp', '2026-11-20T05:37:52.004Z',
    'level', case when line % 97 = 0 then 'warning' else 'info' end, 'logger', 'task',
    'event', 'read part ' || seq || ' of the file, line ' || line || ' of 400, ' || md5((seq * line)::text))::text, E'\\n')
    || E'\\n'
  from (select run, attempt from task_instance t join dag_run r on r.id = t.run
    where r.dag_id = 'idle_000' and r.run_type = 'scheduled' and t.task = 0 order by run desc limit 1) t
  cross join generate_series(0, 124) as seq cross join generate_series(1, 400) as line
  group by t.run, t.attempt, seq
  on conflict do nothing";

const SHORT_LOGS_SQL: &str = "insert into log_chunk (run, attempt, lease_no, seq, lines, body)
  select run, attempt, 1, 0, 1, '{\"level\":\"error\",\"event\":\"the source is empty\"}' || E'\\n'
  from task_instance where state = 'failed' on conflict do nothing";

const AUDIT_SQL: &str = "insert into audit (at, actor, event, dag_id, run_id, extra)
  select now() - interval '1 minute' * n, 'admin', (array['trigger_dag_run', 'clear', 'pause'])[1 + n % 3],
    'idle_' || lpad((n % 2000)::text, 3, '0'), 'manual__' || n, '{\"from\":\"127.0.0.1\"}'
  from generate_series(1, 50000) as n";

/// Inserts a thousand tables in chains of ten: each DAG reads one and writes the next.
const ASSETS_SQL: &str = "insert into asset (uri, name, last_event_at)
  select 'lake://bench/table_' || n, 'table_' || n, now() from generate_series(0, 999) as n on conflict do nothing";

const ASSET_USES_SQL: &str = "insert into asset_use (dag_id, role, task_id, asset)
  select d.dag_id, u.role, u.task_id, a.id
  from (select dag_id, substr(dag_id, 6)::integer % 1000 as n from dag where dag_id like 'idle\\_%') d
  cross join (values ('inlet', 'step_001', 0), ('outlet', 'step_005', 1)) as u (role, task_id, next)
  join asset a on a.uri = 'lake://bench/table_' || (d.n + u.next)
  where u.next = 0 or d.n % 10 < 9
  on conflict do nothing";

/// Inserts events that are already distributed, so that schedulers have nothing to do.
const ASSET_EVENTS_SQL: &str = "insert into asset_event (asset, uri, rows, source_run, source_dag_id, source_run_id,
    source_task_id, at, distributed)
  select a.id, a.uri, 1000 + abs(hashtext(r.run_id)) % 1000, r.id, r.dag_id, r.run_id, u.task_id, r.ended_at, true
  from dag_run r join asset_use u on u.dag_id = r.dag_id and u.role = 'outlet' join asset a on a.id = u.asset
  where r.run_type = 'scheduled' and r.state = 'success'";

const LINEAGE_SQL: &str = "insert into lineage (run, task_id, map_index, from_uri, to_uri, rows, dag_id, run_id, at)
  select r.id, o.task_id, -1, f.uri, t.uri, 1000, r.dag_id, r.run_id, r.ended_at
  from dag_run r join asset_use i on i.dag_id = r.dag_id and i.role = 'inlet' join asset f on f.id = i.asset
  join asset_use o on o.dag_id = r.dag_id and o.role = 'outlet' join asset t on t.id = o.asset
  where r.run_type = 'scheduled' and r.state = 'success' and r.run_after > now() - interval '1 day'
  on conflict do nothing";

const CHECKS_SQL: &str =
    "insert into asset_check (uri, name, kind, policy, outcome, rows, bad, sample, run, dag_id, run_id,
    task_id, map_index, try_no, attempt, at, told)
  select a.uri, 'not_null(id)', 'not_null', 'warn', c.outcome, 1000, case when c.outcome = 'warn' then 3 else 0 end, '',
    r.id, r.dag_id, r.run_id, u.task_id, -1, 1, gen_random_uuid(), r.ended_at, true
  from dag_run r join asset_use u on u.dag_id = r.dag_id and u.role = 'outlet' join asset a on a.id = u.asset
  cross join lateral (select case when abs(hashtext(r.run_id || r.dag_id)) % 20 = 0 then 'warn' else 'pass' end
    as outcome) c
  where r.run_type = 'scheduled' and r.state = 'success' and r.run_after > now() - interval '1 week'";

/// Inserts a finished backfill over all dates for every fourth DAG.
const BACKFILLS_SQL: &str =
    "insert into backfill (dag_id, from_date, to_date, run_backwards, reprocess, max_active_runs,
    latest, created_by, completed_at)
  select dag_id, now() - interval '5 weeks', now(), false, 'none', 4, true, 'admin', now()
  from dag where dag_id like 'idle\\_%' and substr(dag_id, 6)::integer % 4 = 0 order by dag_id desc";

const BACKFILL_RUNS_SQL: &str =
    "insert into backfill_run (backfill, ordinal, logical_date, interval_start, interval_end,
    state, run)
  select b.id, row_number() over (partition by b.id order by r.logical_date), r.logical_date, r.interval_start,
    r.interval_end, r.state::text, r.id
  from backfill b join dag_run r on r.dag_id = b.dag_id
  where r.run_type = 'scheduled' and r.state in ('success', 'failed') and r.logical_date is not null
    and r.interval_start is not null and r.interval_end is not null";

const ALERTS_SQL: &str =
    "insert into alert (key, kind, notifier, facts, dag_id, run, run_id, logical_date, state, tries, at,
    ended_at)
  select r.id::text, 'run_failed', '{\"connection\":\"mail\"}', json_build_object('dag_id', r.dag_id, 'state', 'failed',
    'reason', 'the source is empty'), r.dag_id, r.id, r.run_id, r.logical_date,
    case when abs(hashtext(r.run_id || r.dag_id)) % 10 = 0 then 'failed' else 'sent' end, 1, r.ended_at, r.ended_at
  from dag_run r where r.run_type = 'scheduled' and r.state = 'failed' on conflict do nothing";

/// Inserts 5,000 answered approvals and 500 open ones.
const ANSWERED_SQL: &str = "insert into approval (attempt, run, task_id, map_index, try_no, question, asked_at, ended_at,
    given, given_by)
  select t.attempt, t.run, 'step_002', -1, 1, '{\"subject\":\"May it go on?\",\"options\":[\"Approve\",\"Reject\"]}',
    t.started_at, t.ended_at, json_build_object('chosen_options', json_build_array('Approve'), 'responded_at', t.ended_at),
    'admin'
  from dag_run r join task_instance t on t.run = r.id and t.task = 1
  where r.dag_id like 'idle\\_%' and r.run_type = 'scheduled' and t.state = 'success'
  order by r.id desc limit 5000";

const OPEN_SQL: &str = "with asked as (insert into approval (attempt, run, task_id, map_index, try_no, question)
    select t.attempt, t.run, 'step_003', -1, 1, '{\"subject\":\"May it go on?\",\"options\":[\"Approve\",\"Reject\"]}'
    from dag_run r join task_instance t on t.run = r.id and t.task = 2
    where r.dag_id like 'idle\\_%' and r.run_type = 'scheduled' and t.state = 'success'
    order by r.id desc limit 500 returning attempt, run)
  insert into waiting (run, attempt, map_index, version, queue, priority, task, try_no, max_tries, lease_no, lost_no, state,
    wake_at, kind)
  select a.run, a.attempt, -1, r.version, (select min(id) from queue), 1, 2, 1, 1, 1, 0, 'awaiting_input',
    now() + interval '1 year', 'answer'
  from asked a join dag_run r on r.id = a.run";

pub(crate) fn seed(database_url: &str, quick: bool) -> Result<Seeded> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = orch_store::connect::options(database_url, "orch bench")?;
        let mut db = PgConnection::connect_with(&options).await?;
        sqlx::raw_sql("select make_partitions(now() - interval '1 week' * n) from generate_series(0, 6) n")
            .execute(&mut db)
            .await?;
        sqlx::raw_sql(FUNCTIONS).execute(&mut db).await?;
        let runs = if quick { RUNS_QUICK } else { RUNS };
        sqlx::query(RUNS_SQL).bind(runs).execute(&mut db).await?;
        for text in [
            INSTANCES_SQL,
            FAILURES_SQL,
            LOGS_SQL,
            SHORT_LOGS_SQL,
            AUDIT_SQL,
            ASSETS_SQL,
            ASSET_USES_SQL,
            ASSET_EVENTS_SQL,
            LINEAGE_SQL,
            CHECKS_SQL,
            BACKFILLS_SQL,
            BACKFILL_RUNS_SQL,
            ALERTS_SQL,
            ANSWERED_SQL,
            OPEN_SQL,
        ] {
            sqlx::raw_sql(text).execute(&mut db).await?;
        }
        sqlx::raw_sql("vacuum analyze").execute(&mut db).await?;
        let instances = sqlx::query_scalar("select count(*) from task_instance").fetch_one(&mut db).await?;
        let of_dag = |state: &'static str, dag: &'static str| {
            sqlx::query_scalar(
                "select run_id from dag_run where run_type = 'scheduled' and state::text = $1
                and dag_id like $2 order by id desc limit 1",
            )
            .bind(state)
            .bind(dag)
        };
        let run_id = of_dag("success", "idle\\_000").fetch_one(&mut db).await?;
        let failed_run_id: String = sqlx::query_scalar(
            "select dag_id || '/runs/' || run_id from dag_run where run_type = 'scheduled' and state = 'failed'
            order by id desc limit 1",
        )
        .fetch_one(&mut db)
        .await?;
        let asset =
            sqlx::query_scalar("select id from asset where uri = 'lake://bench/table_5'").fetch_one(&mut db).await?;
        let backfill =
            sqlx::query_scalar("select id from backfill where dag_id = 'idle_000'").fetch_one(&mut db).await?;
        let open = "select attempt::text from waiting where kind = 'answer' limit 1";
        let approval = sqlx::query_scalar(open).fetch_one(&mut db).await?;
        db.close().await?;
        ensure!(quick || instances >= 1_000_000, "only {instances} task instances were made");
        Ok(Seeded { instances, run_id, failed_run_id, asset, backfill, approval })
    })
}
