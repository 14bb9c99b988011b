-- Under the locks of the runs and of the instances. $4: the attempt that goes on, another one than the instance's when it
-- begins anew. $8: 1 when the worker was lost, 0 when it let go.
with again as materialized (
    select a.*, t.attempt <> a.attempt as anew
    from unnest($1::uuid[], $2::smallint[], $3::integer[], $4::uuid[], $5::integer[], $6::integer[], $7::integer[])
        as a (run, task, map_index, attempt, version, queue, priority)
    join task_instance t on t.run = a.run and t.task = a.task and t.map_index = a.map_index
),
hist as (
    insert into attempt (run, attempt, map_index, worker, rev_ready, rev_end, task, try_no, max_tries, lease_no, lost_no,
        state, queued_at, started_at, ended_at)
    select t.run, t.attempt, t.map_index, t.worker, t.rev_ready, t.rev_end, t.task, t.try_no, t.max_tries, t.lease_no,
        t.lost_no, t.state, t.queued_at, t.started_at, now()
    from again a join task_instance t on t.run = a.run and t.task = a.task and t.map_index = a.map_index where a.anew
    on conflict do nothing
),
let_go as (
    update task_instance t set lease_no = t.lease_no + 1, lost_no = t.lost_no + $8, worker = null, state = 'queued'
    from again a where t.run = a.run and t.task = a.task and t.map_index = a.map_index
    returning t.*, a.attempt as next_attempt, a.anew, a.version, a.queue, a.priority
)
insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready)
select run, task, map_index, next_attempt, version, queue, priority, case when anew then try_no + 1 else try_no end, max_tries,
    case when anew then 1 else lease_no end, case when anew then 0 else lost_no end, rev_ready
from let_go
