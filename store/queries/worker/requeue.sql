-- Under the locks of the runs and of the instances. $7: 1 when the worker was lost, 0 when it let go.
with let_go as (
    update task_instance t set lease_no = t.lease_no + 1, lost_no = least(t.lost_no::integer + $7, 32767), worker = null, state = 'queued'
    from unnest($1::uuid[], $2::smallint[], $3::integer[], $4::integer[], $5::integer[], $6::integer[])
        as a (run, task, map_index, version, queue, priority)
    where t.run = a.run and t.task = a.task and t.map_index = a.map_index
    returning t.*, a.version, a.queue, a.priority
)
insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready)
select run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready from let_go
