-- With a time to wake: into `waiting`; else into `ready`.
with p as materialized (
    select * from unnest($3::smallint[], $4::integer[], $5::uuid[], $6::integer[], $7::integer[], $8::integer[], $9::smallint[],
        $10::smallint[], $11::smallint[], $12::smallint[], $13::text[], $14::timestamptz[], $15::timestamptz[])
        as p (task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no, state, wake_at, queued_at)
),
wai as (
    insert into waiting (run, version, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no,
        lost_no, state, wake_at)
    select $1, $2, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no,
        state::task_state, wake_at from p where wake_at is not null
)
insert into ready (run, version, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no,
    queued_at)
select $1, $2, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no,
    coalesce(queued_at, now()) from p where wake_at is null
