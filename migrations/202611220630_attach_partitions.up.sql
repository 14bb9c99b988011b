-- `create table … partition of` locks the parent against readers and writers. Six in one transaction deadlock with a worker that
-- wrote one of them and goes on to another. A table that is made alone and then attached is waited for by other changes of the
-- schema only.
create or replace function make_partitions(moment timestamptz) returns void language plpgsql as $$
declare
    monday timestamptz := date_trunc('week', moment at time zone 'UTC') at time zone 'UTC';
    suffix text := to_char(monday at time zone 'UTC', 'IYYY"w"IW');
    parent text;
    leaf text;
begin
    perform pg_advisory_xact_lock(hashtext('orch make_partitions'));
    foreach parent in array array['task_instance', 'attempt', 'failure', 'output', 'output_part', 'log_chunk'] loop
        leaf := parent || '_' || suffix;
        if to_regclass(quote_ident(leaf)) is null then
            execute format('create table %I (like %I including all) %s', leaf, parent,
                case parent when 'task_instance' then
                    'with (fillfactor = 50, autovacuum_vacuum_insert_scale_factor = 0.2)' else '' end);
            execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                parent, leaf, uuid_of_moment(monday), uuid_of_moment(monday + interval '7 days'));
        end if;
    end loop;
end $$;

update schema_guard set version = 24;
