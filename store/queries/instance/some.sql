-- As list.sql, of chosen instances of many runs: those at the places in $1, $2 and $3.
with i as (
    select wanted.run, wanted.task, wanted.map_index, n.attempt is null or n.state = 'up_for_retry' as settled,
        n.attempt = t.attempt as same_try, n.attempt, n.state, n.try_no, n.max_tries, n.lease_no, n.lost_no, n.queued_at,
        n.wake_at, t.attempt as t_attempt, t.state as t_state, t.try_no as t_try_no, t.max_tries as t_max_tries,
        t.lease_no as t_lease_no, t.lost_no as t_lost_no, t.queued_at as t_queued_at, t.worker, t.started_at, t.ended_at
    from unnest($1::uuid[], $2::smallint[], $3::integer[]) as wanted (run, task, map_index)
    left join task_instance t using (run, task, map_index)
    left join (
        select run, task, map_index, attempt, case when queue > 0 then 'queued' else 'scheduled' end as state, try_no,
            max_tries, lease_no, lost_no, case when queue > 0 then queued_at end as queued_at, null::timestamptz as wake_at
        from ready where run = any($1)
        union all
        select run, task, map_index, attempt, state::text, try_no, max_tries, lease_no, lost_no, null, wake_at
        from waiting where run = any($1)
        union all
        select run, task, map_index, attempt, 'scheduled', null, max_tries, 1::smallint, 0::smallint, null, null
        from held where run = any($1)
    ) n using (run, task, map_index)
    where t.run is not null or n.run is not null
)
select i.run as "run!", i.task as "task!", i.map_index as "map_index!",
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
