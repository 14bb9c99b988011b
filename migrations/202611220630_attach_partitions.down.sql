create or replace function make_partitions(moment timestamptz) returns void language plpgsql as $$
declare
    monday timestamptz := date_trunc('week', moment at time zone 'UTC') at time zone 'UTC';
    suffix text := to_char(monday at time zone 'UTC', 'IYYY"w"IW');
    parent text;
begin
    perform pg_advisory_xact_lock(hashtext('orch make_partitions'));
    foreach parent in array array['task_instance', 'attempt', 'failure', 'output', 'output_part', 'log_chunk'] loop
        if to_regclass(format('%I', parent || '_' || suffix)) is null then
            execute format('create table %I partition of %I for values from (%L) to (%L) %s',
                parent || '_' || suffix, parent, uuid_of_moment(monday), uuid_of_moment(monday + interval '7 days'),
                case parent when 'task_instance' then
                    'with (fillfactor = 50, autovacuum_vacuum_insert_scale_factor = 0.2)' else '' end);
        end if;
    end loop;
end $$;

update schema_guard set version = 23;
