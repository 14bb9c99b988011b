-- Under the lock of admission. Slots of tries that live no more are free: a try lives while it is in `ready`, runs, is being
-- stopped by a living worker, or is deferred in a pool that counts those. One snapshot sees it in one of these places.
with idle as materialized (
    select s.attempt, s.limit_name, s.run, s.task, s.map_index from slot s
    where not exists (select from task_instance t where t.run = s.run and t.task = s.task and t.map_index = s.map_index
        and t.attempt = s.attempt and t.state in ('running', 'restarting'))
),
lives as materialized (
    select r.attempt from ready r where r.attempt in (select attempt from idle)
    union all
    select o.attempt from stop_order o join worker w on w.id = o.worker and w.state in ('running', 'draining')
    where o.attempt in (select attempt from idle)
),
gone as (
    delete from slot s using idle i
    where s.attempt = i.attempt and s.limit_name = i.limit_name and not exists (select from lives l where l.attempt = i.attempt)
      and not exists (select from waiting w, pool p where w.run = i.run and w.task = i.task and w.map_index = i.map_index
        and w.attempt = i.attempt and w.state = 'deferred' and i.limit_name = 'pool:' || p.name and p.include_deferred)
    returning s.attempt
),
old as (
    delete from admitted where until <= clock_timestamp()
),
counted as (
    update admission set recounted_at = clock_timestamp()
)
select (select count(*) from gone) as "gone!"
