drop function trusted_until(timestamptz, timestamptz, timestamptz);
drop function dags_with_room();
drop function queued_dags();
drop function active_runs(text, integer);
drop index dag_run_queued_backfill;
drop index dag_run_active;
create index dag_run_active on dag_run (dag_id, state, run_after) where state in ('queued', 'running');
update schema_guard set version = 21;
