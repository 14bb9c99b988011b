-- What waits for its turn or its time stands beside the row of its last try, if it had one. $2–$5: from behind (task, index)
-- up to (task, index).
with n as (
    select task, map_index, attempt, case when queue > 0 then 'queued' else 'scheduled' end as state, try_no, max_tries, lease_no, lost_no,
        case when queue > 0 then queued_at end as queued_at,
        null::timestamptz as wake_at
    from ready where run = $1
    union all
    select task, map_index, attempt, state::text, try_no, max_tries, lease_no, lost_no, null, wake_at from waiting where run = $1
    union all
    select task, map_index, attempt, 'scheduled', null, max_tries, 1::smallint, 0::smallint, null, null from held where run = $1
),
i as (
    -- A try that failed is shown until the next one is queued.
    select coalesce(n.task, t.task) as task, coalesce(n.map_index, t.map_index) as map_index,
        n.attempt is null or n.state = 'up_for_retry' as settled, n.attempt = t.attempt as same_try,
        n.attempt, n.state, n.try_no, n.max_tries, n.lease_no, n.lost_no, n.queued_at, n.wake_at, t.attempt as t_attempt,
        t.state as t_state, t.try_no as t_try_no, t.max_tries as t_max_tries, t.lease_no as t_lease_no,
        t.lost_no as t_lost_no, t.queued_at as t_queued_at, t.worker, t.started_at, t.ended_at
    from (select * from task_instance where run = $1 and (task, map_index) > ($2, $3) and (task, map_index) <= ($4, $5)
        and ($6::smallint[] is null or task = any($6)) and ($7::integer is null or map_index = $7)
        -- A row in another state is shown only as what waits beside it.
        and ($8::text[] = '{}' or state = any($8::text[]::task_state[])
            or $8::text[] && '{queued,scheduled,up_for_retry,up_for_reschedule,deferred}')) t
    full join (select * from n where (task, map_index) > ($2, $3) and (task, map_index) <= ($4, $5)
        and ($6 is null or task = any($6)) and ($7 is null or map_index = $7)) n
        on n.task = t.task and n.map_index = t.map_index
)
select i.task as "task!", i.map_index as "map_index!",
    case when i.settled then i.t_attempt else i.attempt end as "id!", coalesce(i.state, i.t_state::text) as state,
    case when i.settled then i.t_try_no else coalesce(i.try_no, 1 + coalesce(i.t_try_no, 0)) end::smallint as "try_no!",
    case when i.settled then i.t_max_tries else i.max_tries end as "max_tries!",
    case when i.settled then i.t_lease_no else i.lease_no end as "lease_no!",
    case when i.settled then i.t_lost_no else i.lost_no end as "lost_no!",
    case when i.settled or i.same_try then i.worker end as worker, w.hostname as "hostname?", w.pid as "pid?",
    case when i.settled then i.t_queued_at else i.queued_at end as queued_at,
    case when i.settled or i.same_try then i.started_at end as started_at,
    case when i.settled then i.ended_at end as ended_at, i.wake_at
from i left join worker w on w.id = i.worker and (i.settled or i.same_try)
where $8 = '{}' or coalesce(i.state, i.t_state::text) = any($8)
order by 1, 2 limit $9
