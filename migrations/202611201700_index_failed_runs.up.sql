-- Runs that failed, the newest first: they are rare, and a page that lists only them must not look through all others.
create index dag_run_failed on dag_run (id) where state = 'failed';

update schema_guard set version = 5;
