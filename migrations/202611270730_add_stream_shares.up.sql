-- Streams whose partitions are dealt out to several processes: each share is leased by itself, reads its partitions and writes files;
-- the process that has the stream publishes them.
create table stream_share (
    stream text not null references stream on delete cascade,
    -- The partitions whose number leaves this remainder.
    share integer not null,
    -- Of the stream: shares are opened anew by each process that takes it.
    epoch bigint not null,
    -- Raised whenever a process takes the share. What is handed over under an older one is refused.
    term bigint not null default 0,
    process text,
    lease_until timestamptz,
    primary key (stream, share)
) with (fillfactor = 50);

-- What shares have read and written and the stream has not published. The files are in the lake, and no snapshot has them.
create table stream_lot (
    id bigint primary key generated always as identity,
    stream text not null references stream on delete cascade,
    share integer not null,
    epoch bigint not null,
    -- By partition, from which offset to which.
    covered jsonb not null,
    records bigint not null,
    quarantined bigint not null,
    last_record_at timestamptz,
    files jsonb not null
);

create index stream_lot_share on stream_lot (stream, share);

-- Processes that may take shares: each takes as many as the others.
create table stream_process (
    process text primary key,
    bundle text not null,
    seen_until timestamptz not null
) with (fillfactor = 50);

update schema_guard set version = 35;
