create or replace function running_runs(of_dag text) returns bigint language sql volatile as $$
    select count(*) from dag_run where dag_id = of_dag and state = 'running'
$$;
alter table dag_run_detail drop column tasks;
drop table backfill_run;
drop table backfill;
update schema_guard set version = 6;
