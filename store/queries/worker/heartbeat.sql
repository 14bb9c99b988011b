-- Always one row or more; none of the order's columns without an order.
with beat as (
    update worker set heartbeat_at = now(), expires_at = now() + $3::float8 * interval '1 second', running = $2,
        memory_mb = $5
    where id = $1 and state in ('running', 'draining') returning queues, versions
),
done as (
    delete from stop_order where worker = $1 and attempt = any($4)
),
-- What was told to stop has stopped. A try that is to begin anew is freed by its restart.
freed as (
    delete from slot s where s.attempt = any($4) and not exists (select from task_instance t
        where t.run = s.run and t.task = s.task and t.map_index = s.map_index and t.attempt = s.attempt
            and t.state in ('running', 'restarting'))
)
select beat.queues is null as "lost!",
    exists (select from ready r where r.queue = any(beat.queues) and r.version = any(beat.versions)) as "ready_waiting!",
    exists (select from pool p where p.name = 'default_pool' and p.slots >= 0) as "default_pool_has_size!",
    o.run as "run?", o.task as "task?", o.map_index as "map_index?", o.attempt as "attempt?", o.why as "why?"
from (select) one left join beat on true
left join stop_order o on o.worker = $1 and o.attempt <> all($4)
