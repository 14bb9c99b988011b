//! A large installation, made by SQL out of runs that really ran: 2,000 DAGs, a million task instances over five weeks,
//! failures with their causes, logs.

use anyhow::{Result, ensure};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Each a chain of five tasks.
pub(crate) const DAGS: u32 = 2_000;
/// Of each DAG: with the wide map a million instances.
const RUNS: i32 = 90;
const RUNS_QUICK: i32 = 9;

/// What the pages are asked about.
#[derive(Debug)]
pub(crate) struct Seeded {
    pub(crate) instances: i64,
    pub(crate) run_id: String,
    pub(crate) failed_run_id: String,
}

/// A uuid of version 7 of a moment, as orch makes them.
const FUNCTIONS: &str =
    "create or replace function pg_temp.uuid_at(moment timestamptz) returns uuid language sql volatile as $$
    select (left(uuid_of_moment(moment)::text, 14) || '7' || substr(r, 1, 3) || '-8' || substr(r, 4, 3) || '-'
        || substr(r, 7, 12))::uuid from (select md5(random()::text || clock_timestamp()::text) as r) made $$";

/// A run of each idle DAG every eight hours; one in twenty failed at its fourth task, the first task of some took two
/// tries. What is in flight is a run that nobody works on: it is as a page sees it.
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
  where d.dag_id like 'idle\\_%'
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

/// A log of eight megabytes for one instance, and a short one for each that failed.
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
        for text in [INSTANCES_SQL, FAILURES_SQL, LOGS_SQL, SHORT_LOGS_SQL, AUDIT_SQL] {
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
        db.close().await?;
        ensure!(quick || instances >= 1_000_000, "only {instances} task instances were made");
        Ok(Seeded { instances, run_id, failed_run_id })
    })
}
