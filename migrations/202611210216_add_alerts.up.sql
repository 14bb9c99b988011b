-- Alerts: who is to be told what. A row is written in the transaction of what it tells of, and somebody with a lease sends it
-- until it was taken: at least once, whoever dies. Its key is told with it, so that a receiver knows one that comes again.

create table alert (
    id bigint generated always as identity primary key,
    -- The same transition, told twice, is one alert.
    key text not null unique,
    kind text not null check (kind in ('run_success', 'run_failed', 'task_success', 'task_failed', 'task_retry',
        'task_skipped', 'deadline_missed', 'asset_stale', 'check_failed', 'test')),
    -- Whom to tell: a connection's id, words, addresses. No secrets.
    notifier json not null,
    facts json not null,
    -- No foreign keys: an alert outlives its run.
    dag_id text,
    run uuid,
    run_id text,
    logical_date timestamptz,
    state text not null default 'waiting' check (state in ('waiting', 'sent', 'failed')),
    tries integer not null default 0,
    -- The next try; while somebody is at it, when others may be.
    due_at timestamptz not null default now(),
    -- Why the last try did not succeed.
    problem text,
    at timestamptz not null default now(),
    ended_at timestamptz,
    check ((state = 'waiting') = (ended_at is null))
);
create index alert_due on alert (tries, due_at) where state = 'waiting';
create index alert_state on alert (state, id desc);
create index alert_dag on alert (dag_id, id desc);
create index alert_run on alert (run) where run is not null;
create index alert_at on alert (at, id);

-- By when runs are to be over, a row for each that their DAG names. One that waits for its run to start has no time yet.
create table deadline (
    run uuid not null references dag_run on delete cascade,
    nth smallint not null,
    counts_from text not null check (counts_from in ('queued', 'started', 'logical_date')),
    after_ms bigint not null check (after_ms > 0),
    due_at timestamptz,
    state text not null default 'open' check (state in ('open', 'met', 'missed')),
    -- When that was seen.
    rung_at timestamptz,
    primary key (run, nth)
);
create index deadline_due on deadline (due_at) where state = 'open' and due_at is not null;
create index deadline_to_start on deadline (run) where state = 'open' and due_at is null;
create index deadline_missed on deadline (due_at desc) where state = 'missed';

-- Checks that failed and of which nobody was told.
alter table asset_check add told boolean not null default false;
create index asset_check_untold on asset_check (id) where not told and outcome in ('fail', 'quarantined');

update schema_guard set version = 16;
