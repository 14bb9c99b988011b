drop index dag_run_failed;
update schema_guard set version = 4;
