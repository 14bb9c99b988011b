-- Ends of elements of one mapped task become one alert: 10,000 that fail are a few messages. The statement of an end writes a row
-- here and nobody waits for anybody; whoever sends takes what lies open together (store/src/alert/gather.rs).

create table alert_part (
    id bigint generated always as identity primary key,
    -- As of an alert: the same end, told twice, is one row.
    key text not null unique,
    -- What it has in common with those that it is told of together, within its run.
    gather text not null,
    kind text not null,
    notifier json not null,
    facts json not null,
    map_index integer not null,
    -- No foreign key: an alert outlives its run.
    dag_id text not null,
    run uuid not null,
    run_id text not null,
    logical_date timestamptz,
    at timestamptz not null default now(),
    -- The alert that tells of it; null: none does yet.
    alert bigint references alert on delete cascade
);
create index alert_part_open on alert_part (run, gather, at) where alert is null;
create index alert_part_told on alert_part (alert) where alert is not null;

-- Of an alert of several: when the last one of its kind was told, and whether it still waits.
alter table alert add gather text;
create index alert_gather on alert (run, gather) where gather is not null;

update schema_guard set version = 21;
