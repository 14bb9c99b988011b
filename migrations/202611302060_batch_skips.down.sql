-- A binary of the earlier version does not write these rows.
insert into task_instance as i (run, task, map_index, attempt, try_no, max_tries, lease_no, state, ended_at)
    select u.run, r.task, index, gen_random_uuid(), 0, 0, 0, 'skipped', now()
    from unwritten_skip u, unnest(u.tasks, u.firsts, u.lasts) as r (task, first, last), generate_series(r.first, r.last) as index
    on conflict (run, task, map_index) do update set lease_no = i.lease_no + 1, state = 'skipped', ended_at = now() where i.state is null;
drop table unwritten_skip;
update schema_guard set version = 42;
