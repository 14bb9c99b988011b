-- Under the locks of the runs and of the instances. 4: restarting, as in a ledger.
with gone as (
    update task_instance t set state = null, lease_no = t.lease_no + 1, worker = null, ended_at = now()
    from unnest($1::uuid[], $2::smallint[], $3::integer[]) as f (run, task, map_index)
    where t.run = f.run and t.task = f.task and t.map_index = f.map_index returning t.*
),
hist as (
    insert into attempt (run, attempt, map_index, worker, rev_ready, rev_end, task, try_no, max_tries, lease_no, lost_no,
        state, queued_at, started_at, ended_at)
    select run, attempt, map_index, worker, rev_ready, rev_end, task, try_no, max_tries, lease_no, lost_no, 'restarting',
        queued_at, started_at, ended_at
    from gone on conflict do nothing
),
rel as (
    delete from slot s using gone where s.attempt = gone.attempt
)
insert into unfolded (run, task, map_index, state) select run, task, map_index, 4 from gone
