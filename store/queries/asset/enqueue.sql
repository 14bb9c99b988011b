-- A DAG by partition never sees an event without a key.
insert into asset_queue (dag_id, event)
select distinct u.dag_id, e.id
from asset_event e
join asset_use u on u.role = 'schedule'
    and (u.asset = e.asset or u.alias = (select l.id from asset_alias l where l.name = e.alias))
join dag d on d.dag_id = u.dag_id join dag_version v on v.id = d.version
where e.id = any($1) and (e.partition_key is not null or v.spec -> 'schedule' -> 'asset_partitions' is null)
order by u.dag_id, e.id
on conflict do nothing
returning dag_id
