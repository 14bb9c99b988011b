-- What becomes of a run for which there is no place (core/src/overlap.rs). The column tells schedulers that a DAG's runs
-- are made also when it is full; what is done with them follows from the structure.
alter table dag add column overlap text not null default 'queue' check (overlap in ('queue', 'skip', 'cancel_running'));

-- Sets of params that people gave a name, for the next run.
create table param_preset (
    dag_id text not null references dag on delete cascade,
    name text not null check (char_length(name) between 1 and 100),
    conf json not null,
    created_by text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (dag_id, name)
);

update schema_guard set version = 11;
