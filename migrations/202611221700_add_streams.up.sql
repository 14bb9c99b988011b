-- Streams: jobs that never end. Each is run by one process at a time, and its offsets move in the transaction that publishes
-- its table.
create table stream (
    name text primary key,
    -- The binary that declares it; another one may take the name over.
    bundle text not null,
    -- Of what the bundle declares; null: the bundle no longer has it, and nothing runs it.
    version text,
    -- Topic, table and the like, for people: what runs is in the bundle.
    spec jsonb not null,
    is_paused boolean not null,
    -- Raised whenever a process takes it and whenever a person resets or restarts it. What an older epoch commits is refused.
    epoch bigint not null default 0,
    process text,
    lease_until timestamptz,
    started_at timestamptz,
    -- Since the last commit.
    failures integer not null default 0,
    error text,
    failed_at timestamptz,
    -- Not before; infinity: a person has to restart it.
    retry_at timestamptz,
    -- Tells the topic from another one of its name; null: none was read yet.
    topic_identity text,
    -- Where a person wants it to go on reading: the process that takes it next moves it there and clears this.
    reset_to jsonb,
    commits bigint not null default 0,
    records bigint not null default 0,
    quarantined bigint not null default 0,
    last_commit_at timestamptz,
    -- When the newest record was produced.
    last_record_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
) with (fillfactor = 50);

create table stream_partition (
    stream text not null references stream on delete cascade,
    partition integer not null,
    -- Of the next record: all before it are in the table or in quarantine.
    next_offset bigint not null,
    -- Of the topic, as last seen.
    end_offset bigint not null,
    primary key (stream, partition)
) with (fillfactor = 50);

-- What charts draw. Kept for a day.
create table stream_minute (
    stream text not null references stream on delete cascade,
    minute timestamptz not null,
    records bigint not null,
    quarantined bigint not null,
    -- At the last commit of the minute.
    lag bigint not null,
    primary key (stream, minute)
) with (fillfactor = 50);

update schema_guard set version = 28;
