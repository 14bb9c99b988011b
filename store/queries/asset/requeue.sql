-- Of DAGs whose newest version is one of $1: what is queued and they wait for no more is dropped, and if anything is left
-- their condition, which may be another one, is asked again.
with gone as (
    delete from asset_queue q using dag d, asset_event e
    where d.version = any($1) and q.dag_id = d.dag_id and e.id = q.event
        and not exists (select from asset_use u where u.dag_id = q.dag_id and u.role = 'schedule' and (u.asset = e.asset
            or u.alias = (select l.id from asset_alias l where l.name = e.alias)))
    returning q.dag_id, q.event
)
insert into asset_due (dag_id)
select distinct q.dag_id from asset_queue q join dag d on d.dag_id = q.dag_id
where d.version = any($1) and not exists (select from gone g where g.dag_id = q.dag_id and g.event = q.event)
order by q.dag_id on conflict (dag_id) do nothing
