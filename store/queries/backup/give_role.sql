-- As the migration does that made the role (create_schema).
do $$
begin
    if to_regnamespace('lake') is null or to_regclass('asset_check') is null then
        return;
    end if;
    if not exists (select from pg_roles where rolname = 'orch_lake') then
        begin
            create role orch_lake nologin;
        exception when duplicate_object or unique_violation or insufficient_privilege then
            null;
        end;
    end if;
    if not exists (select from pg_roles where rolname = 'orch_lake') then
        return;
    end if;
    if not pg_has_role(current_user, 'orch_lake', 'usage') then
        begin
            execute format('grant orch_lake to %I', current_user);
        exception when insufficient_privilege then
            null;
        end;
    end if;
    grant usage on schema lake to orch_lake;
    grant select, insert, update, delete on all tables in schema lake to orch_lake;
    alter default privileges in schema lake grant select, insert, update, delete on tables to orch_lake;
    grant insert on asset_check to orch_lake;
    execute format('grant usage on schema %I to orch_lake', current_schema());
end $$;
