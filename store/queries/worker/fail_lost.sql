-- Under the locks of the runs and of the instances. 6: failed, as in a ledger.
with gone as (
    update task_instance t set state = 'failed', lease_no = t.lease_no + 1, lost_no = least(t.lost_no::integer + 1, 32767), ended_at = now()
    from unnest($1::uuid[], $2::smallint[], $3::integer[]) as f (run, task, map_index)
    where t.run = f.run and t.task = f.task and t.map_index = f.map_index returning t.*
),
why as (
    insert into failure (run, attempt, lease_no, kind, causes)
    select run, attempt, lease_no, 'lost',
        array['the worker was lost' || case when lost_no > 1 then ' ' || lost_no || ' times' else '' end]
    from gone on conflict do nothing
),
rel as (
    delete from slot s using gone where s.attempt = gone.attempt
)
insert into unfolded (run, task, map_index, state) select run, task, map_index, 6 from gone
