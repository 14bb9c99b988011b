-- Queries over the lake that people sent, each user's own. A row stays `running` when its server dies: `ends_by` tells
-- that nobody carries it out any more.
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
    -- Somebody wants it to end; the server that runs it looks.
    cancel_wished boolean not null default false,
    check ((state = 'running') = (ended_at is null))
);
create index query_history_user on query_history (user_name, started_at desc);

update schema_guard set version = 14;
