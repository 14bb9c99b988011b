-- Takes away all that waits, and says how much was to be seen: of what a claim is just taking nothing is returned.
with rdy as (
    delete from ready where run = $1
    returning 'queued' as place, task, map_index, attempt, rev_ready, try_no, max_tries, lease_no, lost_no,
        null::text as state, null::timestamptz as wake_at, queued_at, null::text as wait
),
wai as (
    delete from waiting where run = $1
    returning 'waiting', task, map_index, attempt, rev_ready, try_no, max_tries, lease_no, lost_no, state::text, wake_at,
        null::timestamptz, case when state in ('deferred', 'awaiting_input') then json_build_object('kind', kind, 'config', config,
            'poke_ms', poke_ms, 'give_up_at', give_up_at, 'on_timeout', on_timeout, 'carried', carried, 'answer', answer,
            'looks', looks, 'errors', errors, 'last_error', last_error)::text end
),
hld as (
    delete from held where run = $1
    returning 'held', task, map_index, attempt, rev_ready, 0::smallint, max_tries, 1::smallint, 0::smallint, null::text, null::timestamptz, null::timestamptz, null::text
)
select seen.many as "seen!", w.place as "place?", w.task as "task?", w.map_index as "map_index?", w.attempt as "attempt?",
    w.rev_ready, w.try_no as "try_no?", w.max_tries as "max_tries?", w.lease_no as "lease_no?", w.lost_no as "lost_no?",
    w.state as "state?", w.wake_at as "wake_at?", w.queued_at as "queued_at?",
    w.wait as "wait?"
from (select (select count(*) from ready where run = $1) + (select count(*) from waiting where run = $1)
        + (select count(*) from held where run = $1) as many) seen
left join (select * from rdy union all select * from wai union all select * from hld) w on true
