-- Renews the heartbeat of the scheduler and says what there is to do and when something is due next. Each answer is read
-- from an index or from a table that is small by nature.
with beat as (
    update process set heartbeat_at = now(), progress = $2::text::json, memory_mb = $6 where id = $1 returning id
)
select now() as "now!", pg_postmaster_start_time() as "server_started!", exists (select from beat) as "known!",
    exists (select from dag d where d.next_run_after <= now() and not d.is_paused and not d.is_stale
        and (d.overlap <> 'queue' or active_runs(d.dag_id, d.max_active_runs) < d.max_active_runs)) as "dags!",
    -- Nobody has given an event to those that wait for it, or a condition is to be asked of a DAG with room.
    exists (select from asset_event e where not e.distributed)
        or exists (select from asset_due a where (select not d.is_paused and not d.is_stale
            and active_runs(d.dag_id, d.max_active_runs) < d.max_active_runs from dag d where d.dag_id = a.dag_id))
        or exists (select from asset a where a.fresh_until < now() and a.stale_since is null)
        or exists (select from asset_check c where not c.told and c.outcome in ('fail', 'quarantined')) as "assets!",
    exists (select from dags_with_room()) as "queued!",
    -- A run of a backfill is over, or it has room for another one, or nothing is left of it.
    exists (select from backfill b join dag d on d.dag_id = b.dag_id where b.completed_at is null and (
        exists (select from backfill_run x left join dag_run r on r.id = x.run
            where x.backfill = b.id and x.state = 'active' and coalesce(r.state in ('success', 'failed'), true))
        or not b.is_paused and not d.is_paused and not d.is_stale
            and exists (select from backfill_run x where x.backfill = b.id and x.state = 'planned')
            and (select count(*) from backfill_run x where x.backfill = b.id and x.state = 'active') < b.max_active_runs
        or not exists (select from backfill_run x where x.backfill = b.id and x.state in ('planned', 'active'))
    )) as "backfills!",
    exists (select from dag_run r where r.state = 'running' and r.timeout_at <= now()) as "timed_out!",
    exists (select from deadline e where e.state = 'open' and e.due_at <= now())
        or exists (select from deadline e join dag_run r on r.id = e.run where e.state = 'open' and e.due_at is null
            and r.started_at is not null) as "deadlines!",
    exists (select from waiting w where w.kind is null and w.wake_at <= now())
        or exists (select from waiting w where w.kind is not null and w.give_up_at <= now()) as "waiting!",
    exists (select from unfolded u where u.recorded_at < now() - $3::float8 * interval '1 second')
        or exists (select from unwritten_skip) as "unfolded!",
    exists (select from worker w where w.state in ('running', 'draining')
        and trusted_until(w.expires_at, w.heartbeat_at, $7) < now()) as "workers!",
    -- What is left of a worker that woke up after it was lost.
    exists (select from worker w where w.state = 'lost' and w.heartbeat_at > now() - interval '1 hour')
        and exists (select from dag_run r where r.state = 'running') as "orphans!",
    exists (select from dag d where not d.is_stale and d.registered_at < now() - $4::float8 * interval '1 second'
        and not exists (select from worker w where d.version = any(w.versions)
            and w.heartbeat_at > now() - $4::float8 * interval '1 second')) as "stale!",
    exists (select from dag_run r join dag d on d.dag_id = r.dag_id where r.state = 'running' and r.version <> d.version
        and not exists (select from worker w where r.version = any(w.versions)
            and w.heartbeat_at > now() - $4::float8 * interval '1 second')) as "stranded!",
    exists (select from ready r where r.queue > 0 and r.queued_at < now() - $5::float8 * interval '1 second') as "queued_long!",
    -- Somebody waits at a gate; or slots were taken and not compared with what lives for a while.
    exists (select from ready r where r.queue < 0) as "parked!",
    exists (select from slot) and exists (select from admission a where a.recounted_at < now() - interval '30 seconds')
        as "recount!",
    (not exists (select from duty u where u.name = 'retention' and u.done_at > now() - interval '1 hour')
        or exists (select from retirement p where p.one and p.retry_at <= now())) as "retention!",
    (select extract(epoch from min(w.expires_at - w.heartbeat_at))::float8 from worker w
        where w.state in ('running', 'draining')) as "shortest_lease_secs?",
    least(
        (select min(d.next_run_after) from dag d where d.next_run_after > now() and not d.is_paused and not d.is_stale),
        (select min(n.run_after) from queued_dags() q (dag_id) cross join lateral (select r.run_after from dag_run r
            where r.dag_id = q.dag_id and r.state = 'queued' and r.run_after > now() order by r.run_after limit 1) n),
        (select min(r.timeout_at) from dag_run r where r.state = 'running' and r.timeout_at > now()),
        (select min(e.due_at) from deadline e where e.state = 'open' and e.due_at > now()),
        (select min(a.fresh_until) from asset a where a.fresh_until >= now() and a.stale_since is null),
        (select min(w.wake_at) from waiting w where w.kind is null and w.wake_at > now()),
        (select min(w.give_up_at) from waiting w where w.kind is not null and w.give_up_at > now()),
        (select min(u.recorded_at) + $3::float8 * interval '1 second' from unfolded u
            where u.recorded_at >= now() - $3::float8 * interval '1 second'),
        (select min(trusted_until(w.expires_at, w.heartbeat_at, $7)) from worker w where w.state in ('running', 'draining')
            and trusted_until(w.expires_at, w.heartbeat_at, $7) > now())
    ) as next_at
