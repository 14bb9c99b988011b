-- When the taxi pipeline loaded each file, with which content and how many rows. It is in this schema because its rows are written
-- in the transaction that publishes the tables, by the role `orch_lake`. Until now the pipeline created it.
create table if not exists lake.etl_control (
    table_name text not null,
    source_file text not null,
    month date not null,
    -- published: its rows are in the table; done: readers see them; duplicate: another file has its content
    state text not null check (state in ('published', 'done', 'duplicate')),
    sha256 text not null,
    bytes bigint not null,
    rows bigint not null,
    quarantined bigint not null,
    found jsonb not null,
    run_id text not null,
    updated_at timestamptz not null default now(),
    primary key (table_name, source_file)
);
create unique index if not exists etl_control_content on lake.etl_control (table_name, sha256) where state <> 'duplicate';
do $$
begin
    if exists (select from pg_roles where rolname = 'orch_lake') then
        grant select, insert, update on lake.etl_control to orch_lake;
    end if;
end $$;

-- Shows how far each table is loaded.
create view etl_control as
select replace(table_name, '.', '_') as table_name, max(month)::timestamp as last_processed_date, max(updated_at)::timestamp as last_updated
from lake.etl_control where state = 'done' group by table_name;

update schema_guard set version = 38;
