-- Runs for dates that are past, made by schedulers a few at a time (store/src/backfill/pace.rs).
create table backfill (
    id integer generated always as identity primary key,
    dag_id text not null references dag on delete cascade,
    from_date timestamptz not null,
    to_date timestamptz not null,
    -- The latest date first.
    run_backwards boolean not null,
    reprocess text not null check (reprocess in ('none', 'failed', 'completed')),
    -- Its own limit, beside that of the DAG.
    max_active_runs integer not null check (max_active_runs > 0),
    -- Runs that are run again go on in the newest version.
    latest boolean not null,
    conf json,
    -- Only tasks whose ids match, and what they need above them; null: all.
    task_regex text,
    with_upstream boolean not null default true,
    -- No new runs; those there are go on.
    is_paused boolean not null default false,
    is_cancelled boolean not null default false,
    created_by text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    completed_at timestamptz
);
create index backfill_open on backfill (id) where completed_at is null;
create index backfill_dag on backfill (dag_id, id);

-- A date of a backfill: all are there from its beginning. Each leaves `planned` once, in the transaction that makes its run.
create table backfill_run (
    backfill integer not null references backfill on delete cascade,
    ordinal integer not null,
    logical_date timestamptz not null,
    interval_start timestamptz not null,
    interval_end timestamptz not null,
    -- Of `active` the run's own state says more.
    state text not null default 'planned'
        check (state in ('planned', 'active', 'success', 'failed', 'skipped', 'dropped')),
    -- Of what is skipped or dropped.
    why text,
    run uuid,
    primary key (backfill, ordinal),
    unique (backfill, logical_date)
);
create index backfill_run_open on backfill_run (backfill, state, ordinal) where state in ('planned', 'active');
create index backfill_run_run on backfill_run (run) where run is not null;

-- The tasks of a run of which only some are to run; null: all.
alter table dag_run_detail add column tasks text[];

-- Runs of backfills have limits of their own.
create or replace function running_runs(of_dag text) returns bigint language sql volatile as $$
    select count(*) from dag_run where dag_id = of_dag and state = 'running' and run_type <> 'backfill'
$$;

update schema_guard set version = 7;
