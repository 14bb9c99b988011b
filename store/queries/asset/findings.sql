-- What the newest look at each of these URIs found wrong.
select r.id as "id!", r.uri as "uri!", r.name as "name!", r.kind as "kind!", r.policy as "policy!",
    r.outcome as "outcome!", r.rows as "rows!", r.bad as "bad!", r.sample as "sample!", r.dag_id as "dag_id!",
    r.run_id as "run_id!", r.task_id as "task_id!", r.map_index as "map_index!", r.try_no as "try_no!", r.at as "at!"
from unnest($1::text[]) u (uri)
cross join lateral (select c.attempt from asset_check c where c.uri = u.uri order by c.id desc limit 1) newest
cross join lateral (
    select c.* from asset_check c where c.uri = u.uri order by c.id desc limit $2
) r
where r.attempt = newest.attempt and r.outcome <> 'pass'
order by u.uri, r.id
