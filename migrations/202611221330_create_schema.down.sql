-- Takes everything back; only for tests and for an empty installation.

-- Tables that cleanings left behind know types that go.
do $$
declare
    archived record;
begin
    for archived in select relname from pg_class
        where relnamespace = current_schema()::regnamespace and relkind = 'r' and relname ~ '^archived__' loop
        execute format('drop table %I', archived.relname);
    end loop;
end $$;
drop schema lake cascade;
do $$
begin
    -- The role itself may belong to other databases of this server.
    if exists (select from pg_roles where rolname = 'orch_lake') then
        execute format('revoke usage on schema %I from orch_lake', current_schema());
    end if;
end $$;
drop view kept_log;
drop table query_history, retirement, cleanup, approval, deadline, alert_part, alert, asset_check, lineage, dag_run_event,
    asset_due, asset_queue, asset_event, asset_use, asset_alias_asset, asset_alias, asset, backfill_run, backfill, variable,
    connection, audit, favorite, api_token, web_session, api_user, admission, admitted, slot, line, pool, unfolded, waiting, held,
    ready, instance_note, progress, recalled_log, log_chunk, output_part, output, failure, attempt, task_instance, parked_run,
    dag_run_detail, dag_run, setting, stop_order, duty, process, worker, param_preset, import_error, queue, dag, dag_version,
    schema_guard;
drop function steps_have_a_role();
drop function make_partitions(timestamptz);
drop function uuid_of_moment(timestamptz);
drop function trusted_until(timestamptz, timestamptz, timestamptz);
drop function fence_lost();
drop function ledger_words(smallint[]);
drop function dags_with_room();
drop function queued_dags();
drop function active_runs(text, integer);
drop function running_runs(text);
drop function isoformat(timestamptz);
drop type run_type;
drop type run_state;
drop type task_state;
