-- What the events say of their assets. Rows of assets are locked in the order of their ids.
with news as materialized (
    select a.id, max(e.at) as at, max(e.id) as event from asset_event e join asset a on a.uri = e.uri
    where e.id = any($1) group by a.id
),
locked as materialized (
    select a.id from asset a where a.id in (select id from news) order by a.id for no key update
),
told as (
    update asset_event e set distributed = true, asset = a.id from asset a where e.id = any($1) and a.uri = e.uri
)
update asset a set last_event = news.event, last_event_at = news.at, stale_since = null,
    fresh_until = news.at + a.fresh_within_ms * interval '1 millisecond'
from news join locked on locked.id = news.id
where a.id = news.id and (a.last_event_at is null or a.last_event_at <= news.at)
