do $$
begin
    -- The role itself may belong to other databases of this server.
    if exists (select from pg_roles where rolname = 'orch_lake') then
        alter default privileges in schema lake revoke all on tables from orch_lake;
        revoke all on all tables in schema lake from orch_lake;
        revoke all on schema lake from orch_lake;
        execute format('revoke usage on schema %I from orch_lake', current_schema());
    end if;
end $$;
drop function steps_have_a_role();
drop table progress;
drop table asset_check;
update schema_guard set version = 12;
