drop index asset_check_bad;
drop index dag_run_failed;
create index dag_run_failed on dag_run (id) where state = 'failed';

update schema_guard set version = 36;
