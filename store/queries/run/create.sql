-- $1 dag, $2 its newest version as the caller knows it, $3 the run's id, $4 ledger format,
-- $5–$7 the run when it begins, $8–$9 when it waits, $10 type, $11 name or null: $12 + time + $13 then,
-- $14–$17 dates, $18 time-out in ms, $19–$23 who, conf, note, key, $24–$29 ready, $30–$35 held, $36–$38 decided,
-- $39 what the audit log says beside who and what; null: nothing is written there, $40 hash of the request,
-- $41 the tasks that run, or null, $42 the partition, $43 it may begin. Runs of backfills have a limit of their own,
-- which whoever creates them keeps to.
with d as materialized (
    select dag_id, version, is_paused, max_active_runs from dag where dag_id = $1 for no key update
),
-- Counted under the lock: of two creators the second sees the first one's run.
c as materialized (
    select d.version, coalesce($17::timestamptz, now()) as run_after,
        $43::boolean and not d.is_paused and coalesce($17::timestamptz <= now(), true)
            and ($10 = 'backfill' or running_runs(d.dag_id) < d.max_active_runs) as starts
    from d where d.version = $2
),
r as (
    insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id, logical_date,
        interval_start, interval_end, run_after, started_at, ended_at, timeout_at, triggered_by, triggered_by_user,
        partition_key)
    select $3, c.version, $4, case when c.starts then $5::text else 'queued' end::run_state, $10::text::run_type,
        case when c.starts then $6::smallint[] else $8 end, case when c.starts then $7::integer[] else $9 end, $1,
        coalesce($11::text, $12::text || isoformat(c.run_after) || case when $14::timestamptz is null then $13::text else '' end),
        $14, $15::timestamptz, $16::timestamptz, c.run_after, case when c.starts then now() end,
        case when c.starts and $5 in ('success', 'failed') then now() end,
        case when c.starts then now() + $18::bigint * interval '1 millisecond' end, $19, $20, $42::text
    from c
    on conflict do nothing
    returning id, run_id, state, run_after, interval_start, interval_end, created_at, started_at, ended_at,
        state <> 'queued' as starts
),
det as (
    insert into dag_run_detail (run, conf, note, idempotency_key, request_hash, tasks)
    select r.id, $21::text::json, $22::text, $23::text, $40::bytea, $41::text[] from r
    where $21 is not null or $22 is not null or $23 is not null or $41 is not null
),
deed as (
    insert into audit (actor, event, dag_id, run_id, extra)
    select coalesce($20, ''), 'trigger_dag_run', $1, r.run_id, $39::text::json from r where $39 is not null
),
enq as (
    insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready)
    select r.id, q.task, q.map_index, q.attempt, $2, q.queue, q.priority, 1, q.retries, 1, 0, 0
    from unnest($24::smallint[], $25::integer[], $26::uuid[], $27::integer[], $28::integer[], $29::smallint[])
        as q (task, map_index, attempt, queue, priority, retries), r where r.starts
),
hld as (
    insert into held (run, task, map_index, attempt, version, queue, priority, max_tries, rev_ready)
    select r.id, h.task, h.map_index, h.attempt, $2, h.queue, h.priority, h.retries, 0
    from unnest($30::smallint[], $31::integer[], $32::uuid[], $33::integer[], $34::integer[], $35::smallint[])
        as h (task, map_index, attempt, queue, priority, retries), r where r.starts
),
dec as (
    insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at)
    select r.id, e.task, e.map_index, gen_random_uuid(), 0, 0, 0, e.state::task_state, now()
    from unnest($36::smallint[], $37::integer[], $38::text[]) as e (task, map_index, state), r where r.starts
)
select d.version as newest, v.bundle, v.created_at as version_created_at, r.run_id as "run_id?", r.state::text as state,
    r.run_after as "run_after?", r.interval_start as "interval_start?", r.interval_end as "interval_end?",
    r.created_at as "created_at?", r.started_at as "started_at?", r.ended_at as "ended_at?"
from d join dag_version v on v.id = d.version left join r on true
