-- A kind of alert for stopped streams, captures and mirrors.
alter table alert drop constraint alert_kind_check, add constraint alert_kind_check check (kind in ('run_success', 'run_failed', 'task_success', 'task_failed', 'task_retry',
    'task_skipped', 'deadline_missed', 'asset_stale', 'check_failed', 'test', 'task_awaiting_input',
    'stream_stopped'));

-- Records that a user told a stream to quarantine without reading them. A replay skips them again.
create table stream_skip (
    stream text not null references stream on delete cascade,
    partition integer not null check (partition >= 0),
    -- `offset` is a keyword.
    record_offset bigint not null check (record_offset >= 0),
    -- The offsets of a topic that was created again mean other records.
    topic_identity text not null,
    username text not null,
    at timestamptz not null default now(),
    primary key (stream, topic_identity, partition, record_offset)
);

update schema_guard set version = 39;
