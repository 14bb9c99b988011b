-- Assets: what tasks update and DAGs wait for. A try that succeeds leaves its events in the very statement that records
-- the success; a scheduler gives each event to the DAGs that wait for it, once, and creates the runs that follow.

create table asset (
    id integer generated always as identity primary key,
    uri text not null unique,
    name text not null,
    group_name text not null default 'asset',
    extra json not null default '{}',
    -- It is stale when no event came for so long; null: nobody promised.
    fresh_within_ms bigint,
    fresh_until timestamptz,
    -- Since when it is known to be stale.
    stale_since timestamptz,
    last_event bigint,
    last_event_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index asset_name on asset (name);
create index asset_freshness on asset (fresh_until) where fresh_until is not null and stale_since is null;

-- Names for assets that are known only when a task runs, and which those were.
create table asset_alias (
    id integer generated always as identity primary key,
    name text not null unique,
    group_name text not null default 'asset',
    created_at timestamptz not null default now()
);
create table asset_alias_asset (
    alias integer not null references asset_alias on delete cascade,
    asset integer not null references asset on delete cascade,
    primary key (alias, asset)
);
create index asset_alias_asset_asset on asset_alias_asset (asset);

-- Where DAGs name them, filled when a DAG is registered.
create table asset_use (
    dag_id text not null references dag on delete cascade,
    role text not null check (role in ('schedule', 'outlet', 'inlet')),
    task_id text not null default '',       -- none: the schedule
    asset integer references asset,
    alias integer references asset_alias,
    -- What is said there of the asset beside its URI.
    declared json,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (num_nonnulls(asset, alias) = 1)
);
create unique index asset_use_asset on asset_use (dag_id, role, task_id, asset) where asset is not null;
create unique index asset_use_alias on asset_use (dag_id, role, task_id, alias) where alias is not null;
create index asset_use_of_asset on asset_use (asset, role) where asset is not null;
create index asset_use_of_alias on asset_use (alias, role) where alias is not null;

-- No foreign key: the statement that inserts is hot, and an event outlives the run it came from.
create table asset_event (
    id bigint generated always as identity primary key,
    asset integer,                          -- null until it is distributed, of an asset nobody knew
    uri text not null,
    alias text,
    partition_key text,
    rows bigint,
    extra json,                             -- null: nothing
    source_run uuid,                        -- null: somebody said it from outside
    source_dag_id text,
    source_run_id text,
    source_task_id text,
    source_map_index integer not null default -1,
    at timestamptz not null default now(),
    distributed boolean not null default false
) with (fillfactor = 80);
create index asset_event_new on asset_event (id) where not distributed;
create index asset_event_asset on asset_event (asset, at desc, id desc);
create index asset_event_source on asset_event (source_run) where source_run is not null;
create index asset_event_at on asset_event (at, id);

-- What a DAG has not consumed yet.
create table asset_queue (
    dag_id text not null references dag on delete cascade,
    event bigint not null references asset_event on delete cascade,
    created_at timestamptz not null default now(),
    primary key (dag_id, event)
);
create index asset_queue_event on asset_queue (event);

-- DAGs whose condition is to be asked: something was queued since.
create table asset_due (
    dag_id text primary key references dag on delete cascade
);

-- What a run consumed.
create table dag_run_event (
    run uuid not null references dag_run on delete cascade,
    event bigint not null references asset_event on delete cascade,
    primary key (run, event)
);
create index dag_run_event_event on dag_run_event (event);

-- The ways data took: from an asset into another, with rows where the task counted them.
create table lineage (
    run uuid not null,
    task_id text not null,
    map_index integer not null,
    from_uri text not null,
    to_uri text not null,
    rows bigint,
    dag_id text not null,
    run_id text not null,
    at timestamptz not null default now(),
    primary key (run, task_id, map_index, from_uri, to_uri)
);
create index lineage_from on lineage (from_uri, at desc);
create index lineage_to on lineage (to_uri, at desc);
create index lineage_at on lineage (at);

-- The partition a run is for.
alter table dag_run add partition_key text;
create index dag_run_partition on dag_run (dag_id, partition_key) where partition_key is not null;

update schema_guard set version = 9;
