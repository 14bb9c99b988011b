-- Those who wait although they hold something: their worker was lost, or they were deferred in a pool that counts those.
-- However full it is, they are to be looked at.
select r.ctid::text as "at!", -r.queue as "line!", r.run, r.task, r.map_index, r.attempt, r.version, r.priority, r.seq,
    array(select s.limit_name from slot s where s.attempt = r.attempt) as "holds!"
from ready r where r.queue < 0 and r.attempt in (select s.attempt from slot s
    where not exists (select from task_instance t where t.run = s.run and t.task = s.task and t.map_index = s.map_index
        and t.attempt = s.attempt and t.state in ('running', 'restarting')))
limit $1
