-- Pools with what is in them, in slots; -1: infinite. Attempts that hold a slot are running, claimable, or deferred in a pool that
-- counts those. Attempts that were never held back count in the default pool, one slot each.
with held as materialized (
    select substr(s.limit_name, 6) as pool, s.slots, s.attempt,
        exists (select from task_instance t where t.run = s.run and t.task = s.task and t.map_index = s.map_index
            and t.attempt = s.attempt and t.state in ('running', 'restarting')) as runs,
        exists (select from waiting w where w.run = s.run and w.task = s.task and w.map_index = s.map_index
            and w.attempt = s.attempt and w.state = 'deferred') as deferred
    from slot s where s.limit_name like 'pool:%'
),
taken as (
    select pool, coalesce(sum(slots) filter (where runs), 0) as running,
        coalesce(sum(slots) filter (where not runs and not deferred), 0) as queued,
        count(*) filter (where runs) as tries_running, count(*) filter (where not runs and not deferred) as tries_queued
    from held group by pool
),
lines as (
    select l.id, l.gates::json->>'pool' as pool, (l.gates::json->>'slots')::integer as slots from line l
),
scheduled as (
    select l.pool, sum(l.slots * r.many) as many
    from (select queue, count(*) as many from ready where queue < 0 group by queue) r join lines l on l.id = -r.queue group by l.pool
),
deferred as (
    select l.pool, sum(l.slots * w.many) as many
    from (select queue, count(*) as many from waiting where state = 'deferred' group by queue) w
    join lines l on l.id = -w.queue group by l.pool
),
free as (
    select (select count(*) from dag_run r join task_instance t on t.run = r.id
          where r.state = 'running' and t.state in ('running', 'restarting')) - coalesce(sum(tries_running), 0) as running,
        (select count(*) from ready where queue > 0) - coalesce(sum(tries_queued), 0) as queued,
        (select count(*) from waiting where state = 'deferred' and queue > 0) as deferred
    from taken
)
select c.*,
    c.running_slots + c.queued_slots + case when c.include_deferred then c.deferred_slots else 0 end as occupied_slots,
    case when c.slots < 0 then -1
        else c.slots - c.running_slots - c.queued_slots - case when c.include_deferred then c.deferred_slots else 0 end
    end as open_slots
from (
    select p.*,
        (coalesce(t.running, 0) + case when p.name = 'default_pool' then greatest(f.running, 0) else 0 end)::bigint as running_slots,
        (coalesce(t.queued, 0) + case when p.name = 'default_pool' then greatest(f.queued, 0) else 0 end)::bigint as queued_slots,
        coalesce(s.many, 0)::bigint as scheduled_slots,
        (coalesce(d.many, 0) + case when p.name = 'default_pool' then f.deferred else 0 end)::bigint as deferred_slots
    from pool p cross join free f left join taken t on t.pool = p.name left join scheduled s on s.pool = p.name
        left join deferred d on d.pool = p.name
) c
