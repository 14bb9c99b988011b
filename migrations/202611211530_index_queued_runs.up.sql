-- Runs that wait for their place: the oldest are found without reading the others (store/src/run/start.rs), and so is
-- which DAGs have any. And until when a worker is trusted, said once for all who ask.

-- In the order in which they begin.
drop index dag_run_active;
create index dag_run_active on dag_run (state, dag_id, run_after, id) where state in ('queued', 'running');
-- Runs of backfills have a limit of their own. Mostly none is queued: that must not be found out by reading all others.
create index dag_run_queued_backfill on dag_run (dag_id, run_after, id)
    where state = 'queued' and run_type = 'backfill';

-- These three are asked whatever the planner knows of the table, which at first is nothing: along the index, or not at all.

-- How many runs of a DAG wait or run, backfills aside, of either no more than `most`.
create function active_runs(of_dag text, most integer) returns bigint language sql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    select count(*) from (
        (select from dag_run where dag_id = of_dag and state = 'running' and run_type <> 'backfill'
            order by run_after, id limit most)
        union all
        (select from dag_run where dag_id = of_dag and state = 'queued' and run_type <> 'backfill'
            order by run_after, id limit most)) r
$$;

-- DAGs with queued runs. Goes from DAG to DAG: as many steps as there are such DAGs, however many runs each has. Ordered
-- by the state too, which only `dag_run_active` is.
create function queued_dags() returns setof text language sql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    with recursive q as (
        (select r.state, r.dag_id from dag_run r where r.state in ('queued', 'running') order by r.state, r.dag_id limit 1)
        union all
        select n.state, n.dag_id from q cross join lateral (select r.state, r.dag_id from dag_run r
            where r.state in ('queued', 'running') and (r.state, r.dag_id) > (q.state, q.dag_id)
            order by r.state, r.dag_id limit 1) n
        where q.state = 'queued'
    )
    select q.dag_id from q where q.state = 'queued'
$$;

-- DAGs with queued runs that are due and room for one more.
create function dags_with_room() returns setof text language sql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    select d.dag_id from queued_dags() q (dag_id) join dag d on d.dag_id = q.dag_id
    where not d.is_paused
        and (select r.run_after <= now() from dag_run r where r.dag_id = d.dag_id and r.state = 'queued' and r.clear_number = 0
            order by r.run_after, r.id limit 1)
        and (d.overlap <> 'queue' or running_runs(d.dag_id) < d.max_active_runs
            or exists (select from dag_run r where r.dag_id = d.dag_id and r.state = 'queued' and r.run_type = 'backfill'))
$$;

-- A worker is trusted until its lease ends, and for one lease after `awake`: it could not renew it before, nor while the
-- server was down.
create function trusted_until(expires_at timestamptz, heartbeat_at timestamptz, awake timestamptz) returns timestamptz
    language sql stable as $$
    select greatest(expires_at, greatest(awake, pg_postmaster_start_time()) + (expires_at - heartbeat_at))
$$;

update schema_guard set version = 22;
