-- The metadata of orch. Postgres holds the truth: a run's row is its ledger and its lock, `ready` holds what can be
-- claimed, `task_instance` the current try of each instance, `attempt` the tries that were superseded.
-- Why the shapes are as they are: docs/DECISIONS.md, "Schema". Migrations count from here on: one that is released is never
-- changed, the next one is added (migrations/README.md).
--
-- Rooms, in this order: guard, structure, processes, runs, instances, what can be claimed, gates, partitions, people, secrets,
-- backfills, assets, contracts, alerts, questions, upkeep, queries, the lake.

-- One row. A binary older than `min_binary` refuses to work; one newer than `version` asks for `orch db migrate`.
create table schema_guard (
    only_row boolean primary key default true check (only_row),
    version integer not null,
    min_binary integer not null
);
insert into schema_guard (version, min_binary) values (25, 24);

create type task_state as enum ('scheduled', 'queued', 'running', 'restarting', 'success', 'failed', 'skipped',
    'upstream_failed', 'up_for_retry', 'up_for_reschedule', 'deferred', 'awaiting_input', 'removed');
create type run_state as enum ('queued', 'running', 'success', 'failed');
create type run_type as enum ('manual', 'scheduled', 'backfill', 'asset_triggered', 'operator_triggered',
    'asset_materialization');

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
    registered_at timestamptz not null default now(),
    -- What becomes of a run for which there is no place (core/src/overlap.rs). It tells schedulers that runs of this DAG are
    -- made also when it is full; what is done with them follows from the structure.
    overlap text not null default 'queue' check (overlap in ('queue', 'skip', 'cancel_running'))
);
create index dag_due on dag (next_run_after) where next_run_after is not null and not is_paused and not is_stale;
create index dag_alias on dag using gin (aliases);

create table queue (
    id integer generated always as identity primary key,
    name text not null unique
);
insert into queue (name) values ('default');

-- DAG files that cannot be taken, as the workers that watch the folder found them. One row a file; it goes when the file
-- is mended or deleted.
create table import_error (
    id integer generated always as identity primary key,
    bundle text not null,
    file text not null,
    -- A list of {file, line, column, message, hint}.
    problems json not null,
    at timestamptz not null default now(),
    unique (bundle, file)
);

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
    expires_at timestamptz not null,
    memory_mb integer not null default 0
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
    progress json not null default '{}',
    binary_version text not null default '',
    memory_mb integer not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- What one scheduler does at a time, whichever it is.
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

-- Words this installation keeps for itself, such as the key that signs tokens.
create table setting (
    key text primary key,
    value text not null
);

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
    -- The partition of an asset that the run is for.
    partition_key text,
    constraint dag_run_run_id_key unique (dag_id, run_id)
) with (fillfactor = 25, autovacuum_vacuum_scale_factor = 0.05);
create unique index dag_run_logical_date_key on dag_run (dag_id, logical_date) where logical_date is not null;
create index dag_run_recent on dag_run (dag_id, run_after desc, id desc);
-- In the order in which they begin: the oldest that waits is found without reading the others (store/src/run/start.rs), and so
-- is which DAGs have any.
create index dag_run_active on dag_run (state, dag_id, run_after, id) where state in ('queued', 'running');
-- Runs of backfills have a limit of their own. Mostly none is queued: that must not be found out by reading all others.
create index dag_run_queued_backfill on dag_run (dag_id, run_after, id)
    where state = 'queued' and run_type = 'backfill';
-- The newest first: they are rare, and a page that lists only them must not look through all others.
create index dag_run_failed on dag_run (id) where state = 'failed';
create index dag_run_timeout on dag_run (timeout_at) where timeout_at is not null and state = 'running';
create index dag_run_partition on dag_run (dag_id, partition_key) where partition_key is not null;

-- What is large or rare about a run, so that its hot row stays narrow.
create table dag_run_detail (
    run uuid primary key references dag_run on delete cascade,
    conf json,
    note text,
    idempotency_key text unique,
    -- Of the body that came with the key: another body under the same key is refused.
    request_hash bytea,
    -- The tasks of a run of which only some are to run; null: all.
    tasks text[]
);

-- Runs that cannot be moved on: what is stored of them cannot be read, or what follows cannot be written. The others go on;
-- a scheduler tries these again now and then. The row goes when the run is folded again, or deleted.
create table parked_run (
    run uuid primary key references dag_run on delete cascade,
    why text not null,
    parked_at timestamptz not null default now(),
    tried_at timestamptz not null default now()
);

-- A moment as run ids name it: Python's isoformat in UTC.
create function isoformat(moment timestamptz) returns text language sql immutable strict as $$
    select to_char(moment at time zone 'UTC', case when extract(microseconds from moment)::integer % 1000000 = 0
        then 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"' else 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"' end)
$$;

-- How many runs of a DAG are running by now; those of backfills have limits of their own. Volatile, so that a statement that
-- waited for the DAG's lock counts what came to be while it waited.
create function running_runs(of_dag text) returns bigint language sql volatile as $$
    select count(*) from dag_run where dag_id = of_dag and state = 'running' and run_type <> 'backfill'
$$;

-- These three are asked whatever the planner knows of the table, which at first is nothing: along the index, or not at all.

-- How many runs of a DAG wait or run, backfills aside, of either no more than `most`.
create function active_runs(of_dag text, most integer) returns bigint language sql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    select count(*) from (
        (select from dag_run where dag_id = of_dag and state = 'running' and run_type <> 'backfill'
            order by run_after, id limit most)
        union all
        (select from dag_run where dag_id = of_dag and state = 'queued' and run_type <> 'backfill'
            order by run_after, id limit most)) r
$$;

-- DAGs with queued runs. Goes from DAG to DAG: as many steps as there are such DAGs, however many runs each has. Ordered
-- by the state too, which only `dag_run_active` is.
create function queued_dags() returns setof text language sql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    with recursive q as (
        (select r.state, r.dag_id from dag_run r where r.state in ('queued', 'running') order by r.state, r.dag_id limit 1)
        union all
        select n.state, n.dag_id from q cross join lateral (select r.state, r.dag_id from dag_run r
            where r.state in ('queued', 'running') and (r.state, r.dag_id) > (q.state, q.dag_id)
            order by r.state, r.dag_id limit 1) n
        where q.state = 'queued'
    )
    select q.dag_id from q where q.state = 'queued'
$$;

-- DAGs with queued runs that are due and room for one more.
create function dags_with_room() returns setof text language sql stable
    set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    select d.dag_id from queued_dags() q (dag_id) join dag d on d.dag_id = q.dag_id
    where not d.is_paused
        and (select r.run_after <= now() from dag_run r where r.dag_id = d.dag_id and r.state = 'queued' and r.clear_number = 0
            order by r.run_after, r.id limit 1)
        and (d.overlap <> 'queue' or running_runs(d.dag_id) < d.max_active_runs
            or exists (select from dag_run r where r.dag_id = d.dag_id and r.state = 'queued' and r.run_type = 'backfill'))
$$;

-- A ledger in words, in the order of the version's tasks; for people with psql.
create function ledger_words(ledger smallint[]) returns text[] language sql immutable strict as $$
    select array_agg((array['none', 'scheduled', 'in flight', 'running', 'restarting', 'success', 'failed', 'skipped',
        'upstream_failed', 'up_for_retry', 'up_for_reschedule', 'deferred', 'awaiting_input', 'removed'])[code + 1]
        order by place)
    from unnest(ledger) with ordinality as l (code, place)
$$;

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
    -- Grows whenever the same try changes hands. Every look of a sensor and every deferral is one: 32,767 of them are three days
    -- of looks, one each 10 seconds.
    lease_no integer not null,
    lost_no smallint not null default 0,    -- how many workers it lost
    state task_state,
    queued_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    -- How the last wait of the try `attempt` ended: {"attempt", "end", "carried"}.
    resumed json,
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
    lease_no integer not null,
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
    lease_no integer not null,
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
    lease_no integer not null,
    seq integer not null,
    lines integer not null,
    created_at timestamptz not null default now(),
    body text not null,                     -- a JSON object a line
    primary key (run, attempt, lease_no, seq)
) partition by range (run);

-- Logs that were rolled over to an archive (store/src/rollover.rs) and are looked at again, for a day.
create table recalled_log (
    run uuid not null,
    attempt uuid not null,
    lease_no integer not null,
    seq integer not null,
    lines integer not null,
    created_at timestamptz not null,
    body text not null,
    recalled_at timestamptz not null default now(),
    primary key (run, attempt, lease_no, seq)
);
create index recalled_log_at on recalled_log (recalled_at);

-- Every log that can be read at once.
create view kept_log as
    select run, attempt, lease_no, seq, lines, created_at, body from log_chunk
    union all
    select run, attempt, lease_no, seq, lines, created_at, body from recalled_log;

-- The last word of a try about its rows and bytes; a row only of those that say something.
create table progress (
    run uuid not null,
    attempt uuid not null,
    lease_no integer not null,
    rows bigint not null,
    bytes bigint not null,
    -- Since its body began, by the clock of its worker.
    after_ms bigint not null,
    at timestamptz not null default now(),
    primary key (run, attempt)
) with (fillfactor = 50);
create index progress_at on progress (at);

-- What people write about task instances. By the task's id, not its position: a run that goes on in another version keeps
-- its notes.
create table instance_note (
    run uuid not null references dag_run on delete cascade,
    map_index integer not null,
    task_id text not null,
    note text not null,
    primary key (run, task_id, map_index)
);

-- Raised by the step of a worker that finishes what is not its own any more.
create function fence_lost() returns integer language plpgsql volatile as
    $$ begin raise exception 'fence lost' using errcode = 'OR001'; end $$;

-- A worker is trusted until its lease ends, and for one lease after `awake`: it could not renew it before, nor while the
-- server was down.
create function trusted_until(expires_at timestamptz, heartbeat_at timestamptz, awake timestamptz) returns timestamptz
    language sql stable as $$
    select greatest(expires_at, greatest(awake, pg_postmaster_start_time()) + (expires_at - heartbeat_at))
$$;

-- ---------------------------------------------------------------------------------------------------- what can be claimed

-- Claimable instances and nothing else.
create table ready (
    seq bigint generated always as identity,
    run uuid not null,
    attempt uuid not null,
    map_index integer not null,
    version integer not null,
    rev_ready integer,
    queue integer not null,                 -- below zero: it waits in a line (see gates)
    priority integer not null,
    task smallint not null,
    try_no smallint not null,
    max_tries smallint not null,
    lease_no integer not null,
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

-- Tries that go on at a time or when a condition holds, without a slot. A row with a kind is looked at by workers; one
-- without waits for its time alone, and schedulers wake it.
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
    lease_no integer not null,
    lost_no smallint not null,
    state task_state not null,              -- up_for_retry, up_for_reschedule, deferred, awaiting_input
    wake_at timestamptz not null,
    kind text,                              -- of the condition: file, sql, …; `answer`, of people: no worker looks
    config json,                            -- what belongs to that kind
    poke_ms bigint not null default 0,      -- between two looks; `wake_at` is the next one, or when the look under way counts as lost
    give_up_at timestamptz,
    on_timeout text not null default 'fail' check (on_timeout in ('fail', 'skip', 'resume')),
    carried json,                           -- what one call of the body says to the next
    answer json,                            -- how the wait ended, for the next call of the body
    looked_by integer,                      -- the worker that looks
    looks integer not null default 0,       -- with `looked_by` the fence of an answer
    errors integer not null default 0,      -- looks in a row that failed
    last_error text,
    primary key (run, task, map_index)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
create index waiting_due on waiting (wake_at) where kind is null;
create index waiting_look on waiting (queue, wake_at) where kind is not null;
create index waiting_give_up on waiting (give_up_at) where kind is not null and give_up_at is not null;
create index waiting_for_people on waiting (attempt) where kind = 'answer';

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

-- ---------------------------------------------------------------------------------------------------- gates

-- Pools, limits of tasks, rates, and what the run before must have done. A try that has to pass one waits in `ready` with a
-- negative queue, which no worker claims: minus the id of its line. What lets it in (store/src/admission.rs) gives it its slots
-- and its line's queue. Tries without gates have nothing to do with any of this.

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

-- What rates let in lately.
create table admitted (
    limit_name text not null,
    until timestamptz not null,             -- then it no longer counts
    many integer not null
);
create index admitted_limit on admitted (limit_name, until);

-- The lock of admission, and when slots were last compared with the tries that live.
create table admission (
    only_row boolean primary key default true check (only_row),
    recounted_at timestamptz not null default '-infinity'
) with (fillfactor = 50);
insert into admission default values;

-- ---------------------------------------------------------------------------------------------------- partitions

-- Makes the weekly leaves for the week of a moment. The bounds are the v7 uuids of its Monday and the next.
create function uuid_of_moment(moment timestamptz) returns uuid language sql immutable strict as $$
    select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- `create table … partition of` locks the parent against readers and writers. Six in one transaction deadlock with a worker that
-- wrote one of them and goes on to another. A table that is made alone and then attached is waited for by other changes of the
-- schema only.
create function make_partitions(moment timestamptz) returns void language plpgsql as $$
declare
    monday timestamptz := date_trunc('week', moment at time zone 'UTC') at time zone 'UTC';
    suffix text := to_char(monday at time zone 'UTC', 'IYYY"w"IW');
    parent text;
    leaf text;
begin
    perform pg_advisory_xact_lock(hashtext('orch make_partitions'));
    foreach parent in array array['task_instance', 'attempt', 'failure', 'output', 'output_part', 'log_chunk'] loop
        leaf := parent || '_' || suffix;
        if to_regclass(quote_ident(leaf)) is null then
            execute format('create table %I (like %I including all) %s', leaf, parent,
                case parent when 'task_instance' then
                    'with (fillfactor = 50, autovacuum_vacuum_insert_scale_factor = 0.2)' else '' end);
            execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                parent, leaf, uuid_of_moment(monday), uuid_of_moment(monday + interval '7 days'));
        end if;
    end loop;
end $$;

-- ---------------------------------------------------------------------------------------------------- people

-- Who may log in.
create table api_user (
    name text primary key,
    password_hash text not null,
    role text not null default 'admin',
    created_at timestamptz not null default now(),
    -- Cannot log in, and nothing of theirs is accepted.
    is_disabled boolean not null default false,
    -- Grows whenever all sessions and tokens of the user must end.
    generation integer not null default 0,
    full_name text not null default '',
    email text not null default '',
    constraint api_user_role check (role in ('viewer', 'user', 'op', 'admin'))
);

-- A login of a browser, or of a program that changed a password for a token (`/auth/token`). The cookie holds what only the
-- hash of is kept here: a reader of this table cannot log in with it.
create table web_session (
    token_hash bytea primary key,
    user_name text not null references api_user (name) on delete cascade,
    -- Follows from the password it was opened with: a new password ends the session.
    stamp text not null,
    client_ip text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    -- Names it to people; the hash stays here.
    id bigint generated always as identity unique,
    kind text not null default 'browser' check (kind in ('browser', 'program')),
    user_agent text not null default ''
);
create index web_session_expires on web_session (expires_at);
create index web_session_user on web_session (user_name);

-- Tokens that people made for programs. Only hashes are kept: a token is shown once.
create table api_token (
    id bigint generated always as identity primary key,
    token_hash bytea not null unique,
    user_name text not null references api_user (name) on delete cascade,
    name text not null,
    -- Of the user when it was made: it ends when the user's grows.
    generation integer not null,
    created_at timestamptz not null,
    -- Null: until it is revoked.
    expires_at timestamptz,
    unique (user_name, name)
);

create table favorite (
    user_name text not null references api_user (name) on delete cascade,
    dag_id text not null references dag on delete cascade,
    primary key (user_name, dag_id)
);
create index favorite_dag on favorite (dag_id);

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

-- ---------------------------------------------------------------------------------------------------- secrets

-- What is secret in connections and variables is sealed (store/src/seal.rs) with a key that is not in the database: a reader
-- of these tables, or of a dump of them, reads no secret.
create table connection (
    conn_id text primary key check (conn_id ~ '^[A-Za-z0-9_.-]{1,250}$'),
    conn_type text not null,
    description text,
    host text,
    port integer check (port between 0 and 65535),
    login text,
    schema text,
    -- Sealed. Null: there is none.
    password bytea,
    -- Sealed: the whole JSON object, for there is no telling which of its fields are secrets.
    extra bytea,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table variable (
    key text primary key check (char_length(key) between 1 and 250),
    -- Sealed.
    value bytea not null,
    description text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- ---------------------------------------------------------------------------------------------------- backfills

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

-- ---------------------------------------------------------------------------------------------------- assets

-- What tasks update and DAGs wait for. A try that succeeds leaves its events in the very statement that records the success; a
-- scheduler gives each event to the DAGs that wait for it, once, and creates the runs that follow.

create table asset (
    id integer generated always as identity primary key,
    uri text not null unique,
    name text not null,
    group_name text not null default 'asset',
    extra json not null default '{}',
    -- It is stale when no event came for so long; null: it never is.
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
    asset integer,                          -- null until it is distributed, of an asset that was not known
    uri text not null,
    alias text,
    partition_key text,
    rows bigint,
    extra json,                             -- null: nothing
    source_run uuid,                        -- null: it was said from outside
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

-- ---------------------------------------------------------------------------------------------------- contracts

-- What contracts found of the data of assets. A check is told in the transaction that records how its task ended, so it is
-- there exactly if that is; a check that made its task fail too.
create table asset_check (
    id bigint generated always as identity primary key,
    -- No foreign key, as with events: a contract may be about data that no DAG names, and a check outlives its run.
    uri text not null,
    name text not null,
    kind text not null,
    policy text not null check (policy in ('fail', 'warn', 'quarantine')),
    outcome text not null check (outcome in ('pass', 'warn', 'fail', 'quarantined')),
    rows bigint not null check (rows >= 0),
    bad bigint not null check (bad >= 0),
    -- What was found, for people: secrets are masked, and it is short.
    sample text not null default '' check (char_length(sample) <= 2000),
    run uuid not null,
    dag_id text not null,
    run_id text not null,
    task_id text not null,
    map_index integer not null,
    try_no smallint not null,
    attempt uuid not null,
    at timestamptz not null default now(),
    -- An alert was written of it, if it failed.
    told boolean not null default false
);
create index asset_check_uri on asset_check (uri, id desc);
create index asset_check_run on asset_check (run);
create index asset_check_at on asset_check (at);
create index asset_check_untold on asset_check (id) where not told and outcome in ('fail', 'quarantined');

-- ---------------------------------------------------------------------------------------------------- alerts

-- Who is to be told what. A row is written in the transaction of what it tells of, and a sender with a lease sends it until
-- it was taken: at least once, whatever dies. Its key is told with it, so that a receiver knows one that comes again.
create table alert (
    id bigint generated always as identity primary key,
    -- The same transition, told twice, is one alert.
    key text not null unique,
    kind text not null check (kind in ('run_success', 'run_failed', 'task_success', 'task_failed', 'task_retry',
        'task_skipped', 'deadline_missed', 'asset_stale', 'check_failed', 'test', 'task_awaiting_input')),
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
    -- The next try; while a sender is at it, when others may be.
    due_at timestamptz not null default now(),
    -- Why the last try did not succeed.
    problem text,
    at timestamptz not null default now(),
    ended_at timestamptz,
    -- Of an alert of several: when the last one of its kind was told, and whether it still waits.
    gather text,
    check ((state = 'waiting') = (ended_at is null))
);
create index alert_due on alert (tries, due_at) where state = 'waiting';
create index alert_state on alert (state, id desc);
create index alert_dag on alert (dag_id, id desc);
create index alert_run on alert (run) where run is not null;
create index alert_at on alert (at, id);
create index alert_gather on alert (run, gather) where gather is not null;

-- Ends of elements of one mapped task become one alert: 10,000 that fail are a few messages. The statement of an end writes a row
-- here and waits for nothing; a sender takes what lies open together (store/src/alert/gather.rs).
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

-- ---------------------------------------------------------------------------------------------------- questions

-- What tries ask people, and what was answered. The wait itself is a row of `waiting` of kind `answer`: a question is open as
-- long as that row is there. Kept for each try, so that a new try asks anew.
create table approval (
    attempt uuid primary key,
    run uuid not null references dag_run on delete cascade,
    -- The id, not the place in a version: a run may go on in another one.
    task_id text not null,
    map_index integer not null,
    try_no smallint not null,
    question json not null,
    -- What is taken when no answer comes in time.
    fallback json,
    asked_at timestamptz not null default now(),
    give_up_at timestamptz,
    -- Answered, or its time was over. Neither: it is open, or was taken back (cleared, marked, its run ended).
    ended_at timestamptz,
    given json,
    given_by text,
    timed_out boolean not null default false,
    check (ended_at is not null or given is null and not timed_out),
    check (given_by is null or given is not null and not timed_out)
);
create index approval_run on approval (run, task_id, map_index);
create index approval_asked on approval (asked_at desc, attempt);
create index approval_ended on approval (ended_at desc) where ended_at is not null;

-- ---------------------------------------------------------------------------------------------------- upkeep

-- What became of old rows, for people.
create table cleanup (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    -- `scheduler`, or who sat at the command line.
    actor text not null,
    table_name text not null,
    -- The Monday of a week that went as a whole; null: rows of any time.
    week date,
    how text not null check (how in ('dropped', 'deleted', 'archived', 'exported', 'rolled over')),
    -- Of a week that was dropped or archived: as many as Postgres guessed; null: it had no guess.
    rows bigint check (rows >= 0),
    -- Where they are now: a table, or a place in the archive; null: nowhere.
    place text
);
create index cleanup_at on cleanup (at desc, id desc);
create index cleanup_rolled_over on cleanup (week) where how = 'rolled over';

-- How it goes with what schedulers clean by themselves (store/src/clean/passes.rs): an archive that is down is seen, and tried
-- again sooner than within the hour, as is a pass whose scheduler was killed.
create table retirement (
    one boolean primary key default true check (one),
    -- When a pass last came to its end.
    done_at timestamptz,
    -- Since when each has failed, how many, and why the last one did; null: the last one went well.
    failing_since timestamptz,
    failures integer not null default 0,
    error text,
    -- The next pass begins then, if the hour is not over sooner; null: it need not.
    retry_at timestamptz,
    check ((failing_since is null) = (failures = 0) and (failing_since is null) = (error is null))
);

-- ---------------------------------------------------------------------------------------------------- queries

-- Queries over the lake that people sent, each user's own. A row stays `running` when its server dies: `ends_by` tells
-- that no server carries it out any more.
create table query_history (
    id uuid primary key,
    user_name text not null references api_user (name) on delete cascade,
    sql text not null,
    state text not null default 'running' check (state in ('running', 'success', 'failed', 'cancelled')),
    started_at timestamptz not null default now(),
    ends_by timestamptz not null,
    ended_at timestamptz,
    rows bigint,
    problem text,
    -- A person wants it to end; the server that runs it looks.
    cancel_wished boolean not null default false,
    check ((state = 'running') = (ended_at is null))
);
create index query_history_user on query_history (user_name, started_at desc);

-- ---------------------------------------------------------------------------------------------------- the lake

-- Where the tables of the lake are (lake/src/catalog): the layout of JDBC catalogs, which PyIceberg's SqlCatalog and Spark
-- read and write too, with `search_path=lake`. A schema of its own, so that a role can be given these two tables and
-- nothing of orch. A commit to a table changes one row: room on its page keeps that update off the index.
create schema lake;

create table lake.iceberg_tables (
    catalog_name varchar(255) not null,
    table_namespace varchar(255) not null,
    table_name varchar(255) not null,
    metadata_location varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type varchar(5),
    primary key (catalog_name, table_namespace, table_name)
) with (fillfactor = 50);

create table lake.iceberg_namespace_properties (
    catalog_name varchar(255) not null,
    namespace varchar(255) not null,
    property_key varchar(255) not null,
    property_value varchar(1000),
    primary key (catalog_name, namespace, property_key)
);

-- Steps of `ctx.commit` work as `orch_lake`: it writes the tables of the lake and what it is granted, and cannot read
-- orch's own. Where this user may make no roles, steps work as this user.
do $$
begin
    if not exists (select from pg_roles where rolname = 'orch_lake') then
        begin
            create role orch_lake nologin;
        exception when duplicate_object or unique_violation or insufficient_privilege then
            null;
        end;
    end if;
    if not exists (select from pg_roles where rolname = 'orch_lake') then
        return;
    end if;
    -- Of a role that another user made this user may not become a member.
    if not pg_has_role(current_user, 'orch_lake', 'usage') then
        begin
            execute format('grant orch_lake to %I', current_user);
        exception when insufficient_privilege then
            null;
        end;
    end if;
    grant usage on schema lake to orch_lake;
    grant select, insert, update, delete on all tables in schema lake to orch_lake;
    alter default privileges in schema lake grant select, insert, update, delete on tables to orch_lake;
    grant insert on asset_check to orch_lake;
    execute format('grant usage on schema %I to orch_lake', current_schema());
end $$;

-- Whether the current user can become that role: from Postgres 16 on being a member is not enough.
create function steps_have_a_role() returns boolean language sql stable as $$
    select exists (select from pg_roles where rolname = 'orch_lake' and pg_has_role(current_user, oid,
        case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end))
$$;
