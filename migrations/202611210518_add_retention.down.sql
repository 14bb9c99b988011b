update schema_guard set version = 17;

-- Tables that cleanings left behind know types that older schemas take away.
do $$
declare
    archived record;
begin
    for archived in select relname from pg_class
        where relnamespace = current_schema()::regnamespace and relkind = 'r' and relname ~ '^archived__' loop
        execute format('drop table %I', archived.relname);
    end loop;
end $$;
drop view kept_log;
drop table recalled_log, cleanup;
