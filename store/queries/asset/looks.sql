-- What was found of each of these URIs by the last tries that looked, newest first: of so many results each, at most so many tries.
select u.uri as "uri!", l.attempt as "attempt!", l.dag_id as "dag_id!", l.run_id as "run_id!", l.task_id as "task_id!",
    l.map_index as "map_index!", l.try_no as "try_no!", l.at as "at!", l.checks as "checks!", l.failed as "failed!",
    l.warned as "warned!", l.quarantined as "quarantined!", l.rows_aside as "rows_aside!"
from unnest($1::text[]) u (uri)
cross join lateral (
    -- All rows of an attempt have the same DAG, run, task and try: `min` only picks one.
    select r.attempt, max(r.id) as last, min(r.dag_id) as dag_id, min(r.run_id) as run_id, min(r.task_id) as task_id,
        min(r.map_index) as map_index, min(r.try_no) as try_no, max(r.at) as at, count(*) as checks,
        count(*) filter (where r.outcome = 'fail') as failed,
        count(*) filter (where r.outcome = 'warn') as warned,
        count(*) filter (where r.outcome = 'quarantined') as quarantined,
        -- Of a row that several checks put aside it is said by each: at least so many went.
        coalesce(max(r.bad) filter (where r.outcome = 'quarantined'), 0) as rows_aside
    from (
        select c.id, c.attempt, c.dag_id, c.run_id, c.task_id, c.map_index, c.try_no, c.at, c.outcome, c.bad
        from asset_check c where c.uri = u.uri order by c.id desc limit $2
    ) r
    group by r.attempt order by last desc limit $3
) l
order by u.uri, l.last desc
