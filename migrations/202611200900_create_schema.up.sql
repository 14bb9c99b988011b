-- The metadata of orch. Postgres holds the truth: a run's row is its ledger and its lock, `ready` holds what can be
-- claimed, `task_instance` the current try of each instance, `attempt` the tries that were superseded.
-- Why the shapes are as they are: docs/DECISIONS.md, "Schema".

create type task_state as enum ('scheduled', 'queued', 'running', 'restarting', 'success', 'failed', 'skipped',
    'upstream_failed', 'up_for_retry', 'up_for_reschedule', 'deferred', 'awaiting_input', 'removed');
create type run_state as enum ('queued', 'running', 'success', 'failed');
create type run_type as enum ('manual', 'scheduled', 'backfill', 'asset_triggered', 'operator_triggered',
    'asset_materialization');

-- One row. A binary older than `min_binary` refuses to work; one newer than `version` asks for `orch db migrate`.
create table schema_guard (
    only_row boolean primary key default true check (only_row),
    version integer not null,
    min_binary integer not null
);
insert into schema_guard (version, min_binary) values (1, 1);

-- ---------------------------------------------------------------------------------------------------- structure

create table dag_version (
    id integer generated always as identity primary key,
    dag_id text not null,
    number integer not null,
    hash text not null,
    bundle text not null,
    spec json not null,
    created_at timestamptz not null default now(),
    unique (dag_id, hash),
    unique (dag_id, number)
);

create table dag (
    dag_id text primary key,
    version integer not null references dag_version,
    -- The words that are no structure: they may differ from those of `version`.
    description text not null default '',
    tags text[] not null default '{}',
    owners text[] not null default '{}',
    aliases text[] not null default '{}',
    bundle text not null,
    file text not null default '',
    is_paused boolean not null,
    -- No live worker has offered it for a while.
    is_stale boolean not null default false,
    schedule_text text not null default '',
    max_active_runs integer not null check (max_active_runs > 0),
    max_consecutive_failed_runs integer not null default 0,
    -- The next run its schedule asks for; null: none.
    next_run_after timestamptz,
    next_logical_date timestamptz,
    next_interval_start timestamptz,
    next_interval_end timestamptz,
    registered_at timestamptz not null default now()
);
create index dag_due on dag (next_run_after) where next_run_after is not null and not is_paused and not is_stale;
create index dag_alias on dag using gin (aliases);

create table queue (
    id integer generated always as identity primary key,
    name text not null unique
);
insert into queue (name) values ('default');

-- ---------------------------------------------------------------------------------------------------- processes

-- A row per start of a worker: the id is never used again, so a late one can be told from its successor.
create table worker (
    id integer generated always as identity primary key,
    name text not null,
    hostname text not null,
    pid integer not null,
    bundle text not null,
    binary_version text not null,
    queues integer[] not null,
    -- Ids of the DAG versions it can run.
    versions integer[] not null,
    slots integer not null,
    running integer not null default 0,
    state text not null default 'running' check (state in ('running', 'draining', 'stopped', 'lost')),
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now(),
    expires_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Schedulers and web servers, for people and for health; nothing is decided by these rows.
create table process (
    id integer generated always as identity primary key,
    role text not null check (role in ('scheduler', 'web')),
    hostname text not null,
    pid integer not null,
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now(),
    -- When each loop last came round, by name.
    progress json not null default '{}'
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- What a scheduler does at most once at a time, whoever does it.
create table duty (
    name text primary key,
    done_at timestamptz not null default '-infinity'
);

-- A worker must stop what it runs: read with its heartbeat, deleted when obeyed.
create table stop_order (
    worker integer not null,
    run uuid not null,
    task smallint not null,
    map_index integer not null,
    attempt uuid not null,
    why text not null check (why in ('cancelled', 'restarted', 'marked', 'timed_out')),
    created_at timestamptz not null default now()
);
create index stop_order_worker on stop_order (worker);

-- ---------------------------------------------------------------------------------------------------- runs

create table dag_run (
    id uuid primary key,                    -- v7: its time says in which partition the run's rows are
    rev integer not null default 0,
    version integer not null references dag_version,
    ledger_format smallint not null,
    clear_number smallint not null default 0,
    state run_state not null,
    run_type run_type not null,
    ledger smallint[] not null,
    counters integer[] not null,
    -- Outcomes recorded by older transactions than this are in the ledger.
    fold_xmin xid8 not null default '0',
    dag_id text not null,
    run_id text not null,
    logical_date timestamptz,
    interval_start timestamptz,
    interval_end timestamptz,
    run_after timestamptz not null,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    -- The run fails when it is not over by then.
    timeout_at timestamptz,
    triggered_by text not null,
    triggered_by_user text,
    constraint dag_run_run_id_key unique (dag_id, run_id)
) with (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.05);
create unique index dag_run_logical_date_key on dag_run (dag_id, logical_date) where logical_date is not null;
create index dag_run_recent on dag_run (dag_id, run_after desc, id desc);
create index dag_run_active on dag_run (dag_id, state, run_after) where state in ('queued', 'running');
create index dag_run_timeout on dag_run (timeout_at) where timeout_at is not null and state = 'running';

-- What is large or rare about a run, so that its hot row stays narrow.
create table dag_run_detail (
    run uuid primary key references dag_run on delete cascade,
    conf json,
    note text,
    idempotency_key text unique
);

-- ---------------------------------------------------------------------------------------------------- instances

-- The current try of an instance. Written when it is claimed, or when it ends without running. No index but the key:
-- any other would make each update a cold one.
create table task_instance (
    run uuid not null,
    attempt uuid not null,
    map_index integer not null,             -- -1: not mapped
    worker integer,
    rev_ready integer,                      -- revision of the run that made it ready
    rev_end integer,                        -- and that its end made, or at which its end was recorded
    task smallint not null,                 -- position in the DAG version
    try_no smallint not null,
    max_tries smallint not null,
    lease_no smallint not null,             -- grows whenever the same try changes hands
    lost_no smallint not null default 0,    -- how many workers it lost
    state task_state,
    queued_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    primary key (run, task, map_index)
) partition by range (run);

-- Tries that were superseded by a retry or a clear.
create table attempt (
    run uuid not null,
    attempt uuid not null,
    map_index integer not null,
    worker integer,
    rev_ready integer,
    rev_end integer,
    task smallint not null,
    try_no smallint not null,
    max_tries smallint not null,
    lease_no smallint not null,
    lost_no smallint not null,
    state task_state,
    queued_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    primary key (run, task, map_index, attempt)
) partition by range (run);

-- Why tries failed.
create table failure (
    run uuid not null,
    attempt uuid not null,
    lease_no smallint not null,
    kind text not null,                     -- retryable, fatal, timeout, panic, lost, exit, …
    causes text[] not null,
    created_at timestamptz not null default now(),
    primary key (run, attempt, lease_no)
) partition by range (run);

-- What tasks gave (XCom). Large values and lists that are mapped over are in parts.
create table output (
    run uuid not null,
    map_index integer not null,
    parts integer not null default 0,       -- 0: here; else so many rows of output_part
    task smallint not null,
    is_list boolean not null default false, -- parts are JSON arrays of 1,000 elements each, else pieces of one text
    key text not null,
    value json,
    created_at timestamptz not null default now(),
    primary key (run, task, map_index, key)
) partition by range (run);

create table output_part (
    run uuid not null,
    map_index integer not null,
    part integer not null,
    task smallint not null,
    key text not null,
    value text not null,
    primary key (run, task, map_index, key, part)
) partition by range (run);

create table log_chunk (
    run uuid not null,
    attempt uuid not null,
    lease_no smallint not null,
    seq integer not null,
    lines integer not null,
    created_at timestamptz not null default now(),
    body text not null,                     -- a JSON object a line
    primary key (run, attempt, lease_no, seq)
) partition by range (run);

-- ---------------------------------------------------------------------------------------------------- hot tables

-- Claimable instances and nothing else.
create table ready (
    seq bigint generated always as identity,
    run uuid not null,
    attempt uuid not null,
    map_index integer not null,
    version integer not null,
    rev_ready integer,
    queue integer not null,
    priority integer not null,
    task smallint not null,
    try_no smallint not null,
    max_tries smallint not null,
    lease_no smallint not null,
    lost_no smallint not null,
    queued_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index ready_claim on ready (queue, priority desc, seq);

-- Elements that could be ready but for a limit of their DAG.
create table held (
    run uuid not null,
    attempt uuid not null,
    map_index integer not null,
    version integer not null,
    rev_ready integer,
    queue integer not null,
    priority integer not null,
    task smallint not null,
    max_tries smallint not null,
    primary key (run, task, map_index)
);

-- Tries that go on at a time: retries, sensors between two looks.
create table waiting (
    run uuid not null,
    attempt uuid not null,
    map_index integer not null,
    version integer not null,
    rev_ready integer,
    queue integer not null,
    priority integer not null,
    task smallint not null,
    try_no smallint not null,
    max_tries smallint not null,
    lease_no smallint not null,
    lost_no smallint not null,
    state task_state not null,              -- up_for_retry, up_for_reschedule, deferred
    wake_at timestamptz not null,
    primary key (run, task, map_index)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index waiting_due on waiting (wake_at);

-- Outcomes that are recorded and not yet in the ledger of their run.
create table unfolded (
    run uuid not null,
    map_index integer not null,
    list_len integer,
    task smallint not null,
    state smallint not null,
    skip integer[],                         -- pairs (task, map_index or -1) told not to run
    recorded_at timestamptz not null default now(),
    xid xid8 not null default pg_current_xact_id()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index unfolded_run on unfolded (run, xid);

-- Raised by the step of a worker that finishes what is not its own any more.
create function fence_lost() returns integer language plpgsql volatile as
    $$ begin raise exception 'fence lost' using errcode = 'OR001'; end $$;

-- How many runs of a DAG are running by now. Volatile, so that a statement that waited for the DAG's lock counts what
-- came to be while it waited.
create function running_runs(of_dag text) returns bigint language sql volatile as $$
    select count(*) from dag_run where dag_id = of_dag and state = 'running'
$$;

-- A moment as run ids name it: Python's isoformat in UTC.
create function isoformat(moment timestamptz) returns text language sql immutable strict as $$
    select to_char(moment at time zone 'UTC', case when extract(microseconds from moment)::integer % 1000000 = 0
        then 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"' else 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"' end)
$$;

-- ---------------------------------------------------------------------------------------------------- partitions

-- Makes the weekly leaves for the week of a moment. The bounds are the v7 uuids of its Monday and the next.
create function uuid_of_moment(moment timestamptz) returns uuid language sql immutable strict as $$
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

create function make_partitions(moment timestamptz) returns void language plpgsql as $$
declare
    monday timestamptz := date_trunc('week', moment at time zone 'UTC') at time zone 'UTC';
    suffix text := to_char(monday at time zone 'UTC', 'IYYY"w"IW');
    parent text;
begin
    perform pg_advisory_xact_lock(hashtext('orch make_partitions'));
    foreach parent in array array['task_instance', 'attempt', 'failure', 'output', 'output_part', 'log_chunk'] loop
        if to_regclass(format('%I', parent || '_' || suffix)) is null then
            execute format('create table %I partition of %I for values from (%L) to (%L) %s',
                parent || '_' || suffix, parent, uuid_of_moment(monday), uuid_of_moment(monday + interval '7 days'),
                case parent when 'task_instance' then
                    'with (fillfactor = 50, autovacuum_vacuum_insert_scale_factor = 0.2)' else '' end);
        end if;
    end loop;
end $$;

-- ---------------------------------------------------------------------------------------------------- people

-- Who may log in. Roles: viewer, user, op, admin.
create table api_user (
    name text primary key,
    password_hash text not null,
    role text not null default 'admin',
    created_at timestamptz not null default now()
);

-- Words this installation keeps for itself, such as the key that signs tokens.
create table setting (
    key text primary key,
    value text not null
);

-- Who did what, from where.
create table audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,
    event text not null,
    dag_id text,
    run_id text,
    task_id text,
    map_index integer,
    extra json
);
create index audit_dag on audit (dag_id, id desc);

-- ---------------------------------------------------------------------------------------------------- for people with psql

-- A ledger in words, in the order of the version's tasks.
create function ledger_words(ledger smallint[]) returns text[] language sql immutable strict as $$
    select array_agg((array['none', 'scheduled', 'in flight', 'running', 'restarting', 'success', 'failed', 'skipped',
        'upstream_failed', 'up_for_retry', 'up_for_reschedule', 'deferred', 'awaiting_input', 'removed'])[code + 1]
        order by place)
    from unnest(ledger) with ordinality as l (code, place)
$$;
