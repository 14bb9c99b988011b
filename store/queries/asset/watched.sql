-- The URIs that contracts look at, each by one step along their index, and the assets that promise to be fresh.
with recursive looked_at (uri, found) as (
    (select uri, 1::bigint from asset_check order by uri limit 1)
    union all
    select (select c.uri from asset_check c where c.uri > l.uri order by c.uri limit 1), l.found + 1
    from looked_at l where l.uri is not null and l.found < $1
), watched as (
    select uri from looked_at where uri is not null
    union
    (select uri from asset where fresh_within_ms is not null order by uri limit $1)
)
select w.uri as "uri!", a.id as "asset?", coalesce(a.name, w.uri) as "name!", a.fresh_within_ms as "fresh_within_ms?",
    a.stale_since as "stale_since?", a.last_event_at as "last_event_at?"
from watched w left join asset a on a.uri = w.uri order by 1 limit $1
