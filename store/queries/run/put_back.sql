-- With a time to wake: into `waiting`, with what it waits for; else into `ready`.
with p as materialized (
    select * from unnest($3::smallint[], $4::integer[], $5::uuid[], $6::integer[], $7::integer[], $8::integer[], $9::smallint[],
        $10::smallint[], $11::integer[], $12::smallint[], $13::text[], $14::timestamptz[], $15::timestamptz[], $16::text[])
        as p (task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no, state, wake_at,
            queued_at, wait)
),
wai as (
    insert into waiting (run, version, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no,
        lost_no, state, wake_at, kind, config, poke_ms, give_up_at, on_timeout, carried, answer, looks, errors, last_error)
    select $1, $2, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no,
        state::task_state, wake_at, w.kind, nullif(w.config::text, 'null')::json, coalesce(w.poke_ms, 0), w.give_up_at,
        coalesce(w.on_timeout, 'fail'), nullif(w.carried::text, 'null')::json, nullif(w.answer::text, 'null')::json,
        coalesce(w.looks, 0), coalesce(w.errors, 0), w.last_error
    from p left join lateral json_to_record(p.wait::json) as w (kind text, config json, poke_ms bigint,
        give_up_at timestamptz, on_timeout text, carried json, answer json, looks integer, errors integer, last_error text)
        on true
    where wake_at is not null
)
insert into ready (run, version, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no,
    queued_at)
select $1, $2, task, map_index, attempt, rev_ready, queue, priority, max_tries, try_no, lease_no, lost_no,
    coalesce(queued_at, now()) from p where wake_at is null
