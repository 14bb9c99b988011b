insert into asset_alias (name) select distinct e.alias from asset_event e where e.id = any($1) and e.alias is not null
order by e.alias on conflict (name) do nothing
