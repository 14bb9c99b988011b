-- Windows of streams: what is known of each window that may still change. It moves in the transaction that moves the offsets, so after
-- any crash a window has each record once.
create table stream_window (
    stream text not null references stream on delete cascade,
    -- The values that records are grouped by, as a JSON array of texts.
    key text not null,
    window_start timestamptz not null,
    window_end timestamptz not null,
    -- Of each measure how many values it has seen, and their sum, least or greatest.
    state json not null,
    primary key (stream, key, window_start)
) with (fillfactor = 50);

create index stream_window_end on stream_window (stream, window_end);

-- The greatest event time of a partition: by it a record is late.
alter table stream_partition add column watermark timestamptz;
-- Windows that ended before are forgotten: no record is added to them.
alter table stream add column closed_before timestamptz;

update schema_guard set version = 29;
