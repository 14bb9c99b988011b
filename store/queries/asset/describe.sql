-- The words about the assets of bundles whose DAGs have these versions ($1), and about those that nobody names any more: of
-- each word the first that is said, in the order of the DAGs, outlets before others. The promise of freshness is the strictest.
with w as (
    select a.id,
        (array_agg(u.declared ->> 'name' order by u.role <> 'outlet', u.dag_id, u.task_id)
            filter (where u.declared ->> 'name' is not null))[1] as name,
        (array_agg(u.declared ->> 'group' order by u.role <> 'outlet', u.dag_id, u.task_id)
            filter (where u.declared ->> 'group' is not null))[1] as group_name,
        (array_agg(u.declared -> 'extra' order by u.role <> 'outlet', u.dag_id, u.task_id)
            filter (where u.declared -> 'extra' is not null))[1] as extra,
        min((u.declared ->> 'fresh_within_ms')::bigint) as fresh_within_ms
    from asset a left join asset_use u on u.asset = a.id
    where a.id in (select m.asset from asset_use m join dag d on d.dag_id = m.dag_id where d.version = any($1))
        or not exists (select from asset_use m where m.asset = a.id)
    group by a.id
)
update asset a set name = coalesce(w.name, a.uri), group_name = coalesce(w.group_name, 'asset'),
    extra = coalesce(w.extra, '{}'), fresh_within_ms = w.fresh_within_ms, updated_at = now(),
    fresh_until = coalesce(a.last_event_at, a.created_at) + w.fresh_within_ms * interval '1 millisecond',
    stale_since = case when w.fresh_within_ms is not distinct from a.fresh_within_ms then a.stale_since end
from w where w.id = a.id
    and (a.name, a.group_name, a.extra::text, a.fresh_within_ms) is distinct from
        (coalesce(w.name, a.uri), coalesce(w.group_name, 'asset'), coalesce(w.extra, '{}')::text, w.fresh_within_ms)
