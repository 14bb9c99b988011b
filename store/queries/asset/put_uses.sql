-- $1 the uses of the versions $2. Of DAGs whose newest version is one of these: what they name by now, and nothing else.
with d as (
    select dag_id, version from dag where version = any($2)
),
u as (
    select distinct on (d.dag_id, w.role, w.task_id, a.id, l.id) d.dag_id, w.role, w.task_id, a.id as asset, l.id as alias,
        w.declared
    from json_to_recordset($1::text::json)
        as w (version integer, role text, task_id text, uri text, alias text, declared json)
    join d on d.version = w.version left join asset a on a.uri = w.uri left join asset_alias l on l.name = w.alias
    -- Of two mentions in one place the one that says something.
    order by d.dag_id, w.role, w.task_id, a.id, l.id, w.declared is null
),
gone as (
    delete from asset_use o using d where o.dag_id = d.dag_id and not exists (select from u where u.dag_id = o.dag_id
        and u.role = o.role and u.task_id = o.task_id
        and u.asset is not distinct from o.asset and u.alias is not distinct from o.alias)
),
same as (
    update asset_use o set declared = u.declared, updated_at = now() from u
    where u.dag_id = o.dag_id and u.role = o.role and u.task_id = o.task_id
        and u.asset is not distinct from o.asset and u.alias is not distinct from o.alias
        and u.declared::text is distinct from o.declared::text
)
insert into asset_use (dag_id, role, task_id, asset, alias, declared)
select u.dag_id, u.role, u.task_id, u.asset, u.alias, u.declared from u
where not exists (select from asset_use o where u.dag_id = o.dag_id and u.role = o.role and u.task_id = o.task_id
    and u.asset is not distinct from o.asset and u.alias is not distinct from o.alias)
