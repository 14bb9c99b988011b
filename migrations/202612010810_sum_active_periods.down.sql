drop function active_seconds;
alter table dag_run drop column idle_micros;
update schema_guard set version = 43;
