-- What was found of each of these URIs by the last tries that looked, newest first: of so many results each.
select u.uri as "uri!", r.attempt as "attempt!", r.dag_id as "dag_id!", r.run_id as "run_id!", r.task_id as "task_id!",
    r.map_index as "map_index!", r.try_no as "try_no!", max(r.at) as "at!", count(*) as "checks!",
    count(*) filter (where r.outcome = 'fail') as "failed!",
    count(*) filter (where r.outcome = 'warn') as "warned!",
    count(*) filter (where r.outcome = 'quarantined') as "quarantined!",
    -- Of a row that several checks put aside it is said by each: at least so many went.
    coalesce(max(r.bad) filter (where r.outcome = 'quarantined'), 0) as "rows_aside!"
from unnest($1::text[]) u (uri)
cross join lateral (
    select c.id, c.attempt, c.dag_id, c.run_id, c.task_id, c.map_index, c.try_no, c.at, c.outcome, c.bad
    from asset_check c where c.uri = u.uri order by c.id desc limit $2
) r
group by u.uri, r.attempt, r.dag_id, r.run_id, r.task_id, r.map_index, r.try_no
order by u.uri, max(r.id) desc
