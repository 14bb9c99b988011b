-- Gates: pools, limits of tasks, rates, and what the run before must have done. A try that has to pass one stands in
-- `ready` with a negative queue, which no worker claims: minus the id of its line. Whoever lets it in (store/src/admission.rs)
-- gives it its slots and its line's queue. Tries without gates have nothing to do with any of this.

create table pool (
    name text primary key check (char_length(name) between 1 and 256),
    -- -1: infinite.
    slots integer not null check (slots >= -1),
    description text,
    -- Deferred tries keep their slots.
    include_deferred boolean not null default false
);
insert into pool (name, slots, description) values ('default_pool', -1, 'Default pool');

-- Tries of equal gates and one queue wait in one line. It never changes.
create table line (
    id integer generated always as identity primary key,
    queue integer not null references queue,
    gates text not null                     -- JSON of core::gates::Gates
);
create unique index line_key on line (queue, md5(gates));

-- What a try was given, as long as it lives: one row for each thing that is counted.
create table slot (
    attempt uuid not null,
    limit_name text not null,               -- pool:…, limit:…, task:…, rate:… (with no slots)
    slots integer not null,
    run uuid not null,
    map_index integer not null,
    task smallint not null,
    taken_at timestamptz not null default now(),
    primary key (attempt, limit_name)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index slot_limit on slot (limit_name);

-- Whom rates let in lately.
create table admitted (
    limit_name text not null,
    until timestamptz not null,             -- then it no longer counts
    many integer not null
);
create index admitted_limit on admitted (limit_name, until);

-- The lock of whoever lets in, and when slots were last compared with the tries that live.
create table admission (
    only_row boolean primary key default true check (only_row),
    recounted_at timestamptz not null default '-infinity'
) with (fillfactor = 50);
insert into admission default values;

update schema_guard set version = 8;
