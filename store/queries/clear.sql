-- Under the run's lock. What is over becomes history and has no state; what runs is told to stop; what waits, for a time or
-- for a condition, waits no more, and the fold that follows hears that it begins anew (4: restarting, as in a ledger).
-- Outputs go: the next try writes them anew.
with named as materialized (
    select * from unnest($2::smallint[], $3::integer[]) as n (task, map_index)
),
hist as (
    insert into attempt (run, attempt, map_index, worker, rev_ready, rev_end, task, try_no, max_tries, lease_no, lost_no,
        state, queued_at, started_at, ended_at)
    select t.run, t.attempt, t.map_index, t.worker, t.rev_ready, t.rev_end, t.task, t.try_no, t.max_tries, t.lease_no,
        t.lost_no, t.state, t.queued_at, t.started_at, t.ended_at
    from task_instance t join named n on n.task = t.task and n.map_index = t.map_index
    where t.run = $1 and t.try_no > 0 and t.state <> 'running'
    on conflict do nothing
),
waited as (
    delete from waiting w using named n where w.run = $1 and w.task = n.task and w.map_index = n.map_index
    returning w.task, w.map_index
),
anew as (
    update task_instance t set state = null, worker = null, lease_no = t.lease_no + 1 from named n
    where t.run = $1 and t.task = n.task and t.map_index = n.map_index and t.state <> 'running'
    returning t.run, t.task, t.map_index, t.attempt
),
told as (
    insert into unfolded (run, task, map_index, state)
    select anew.run, anew.task, anew.map_index, 4 from anew join waited w on w.task = anew.task and w.map_index = anew.map_index
),
rel as (
    delete from slot s using anew where s.attempt = anew.attempt
),
stopped as (
    update task_instance t set state = 'restarting', lease_no = t.lease_no + 1 from named n
    where t.run = $1 and t.task = n.task and t.map_index = n.map_index and t.state = 'running' returning t.*
),
orders as (
    insert into stop_order (worker, run, task, map_index, attempt, why)
    select worker, run, task, map_index, attempt, 'restarted' from stopped where worker is not null
),
no_parts as (
    delete from output_part p using anew o where p.run = $1 and p.task = o.task and p.map_index = o.map_index
)
delete from output p using anew o where p.run = $1 and p.task = o.task and p.map_index = o.map_index
