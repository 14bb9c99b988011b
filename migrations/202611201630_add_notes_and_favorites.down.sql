alter table dag_run_detail drop column request_hash;
drop table favorite;
drop table instance_note;
update schema_guard set version = 3;
