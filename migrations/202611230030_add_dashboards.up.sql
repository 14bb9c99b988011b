-- Dashboards are data: pages draw them without what declared them, as they do DAGs.
create table dashboard (
    name text primary key,
    -- What declares it, and where: a binary, or the folder of DAG files.
    bundle text not null,
    file text not null,
    spec json not null,
    updated_at timestamptz not null default now()
);
create index dashboard_bundle on dashboard (bundle);

update schema_guard set version = 33;
