-- The worst that each of the last tries found of each of these URIs, newest first: of so many results each, at most so many tries.
select u.uri as "uri!", array(
    select (array['fail', 'quarantined', 'warn', 'pass'])[min(
        array_position(array['fail', 'quarantined', 'warn', 'pass'], r.outcome))]
    from (select c.id, c.attempt, c.outcome from asset_check c where c.uri = u.uri order by c.id desc limit $2) r
    group by r.attempt order by max(r.id) desc limit $3
) as "outcomes!"
from unnest($1::text[]) u (uri)
