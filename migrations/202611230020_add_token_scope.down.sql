-- A token for published queries must not open everything.
delete from api_token where scope <> 'all';
alter table api_token drop column scope;
update schema_guard set version = 31;
