-- Which assets an alias stood for.
insert into asset_alias_asset (alias, asset)
select distinct l.id, a.id from asset_event e join asset_alias l on l.name = e.alias join asset a on a.uri = e.uri
where e.id = any($1) order by l.id, a.id on conflict do nothing
