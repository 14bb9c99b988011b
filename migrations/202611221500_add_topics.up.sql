-- The built-in log: topics of records with Kafka's offsets, in this database.
create table topic (
    name text primary key,
    -- Tells a topic from one of the same name that was deleted before.
    topic_no integer not null generated always as identity unique,
    partitions smallint not null default 1 check (partitions between 1 and 64),
    -- -1: records are kept for ever.
    retention_hours integer not null default 168 check (retention_hours = -1 or retention_hours > 0),
    description text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- Who writes to a partition locks its row until it commits. So offsets are given in the order of commits and have no gaps: a
-- reader never sees a record while one with a lower offset is still to come.
create table topic_partition (
    topic_no integer not null,
    partition smallint not null,
    first_offset bigint not null default 0,     -- of the oldest record that is kept
    next_offset bigint not null default 0,      -- of the next record
    last_at timestamptz not null,               -- of the newest record: moments never go back within a partition
    primary key (topic_no, partition)
) with (fillfactor = 50);

-- No foreign key: the records of a deleted topic go a few at a time.
create table topic_record (
    topic_no integer not null,
    partition smallint not null,
    record_offset bigint not null,
    at timestamptz not null,
    key bytea,
    value bytea,                                -- null: a tombstone
    headers jsonb,                              -- texts by name
    primary key (topic_no, partition, record_offset)
) with (autovacuum_vacuum_insert_scale_factor = 0.2);

-- Appends records to a topic that is there, to partitions that it has. Rows of partitions are locked in their order, so that two
-- writers never wait for each other. Steps of `ctx.commit` may call it, and may not write to the tables themselves.
create function append_records(topic_no integer, partitions smallint[], keys bytea[], record_values bytea[], headers jsonb[])
returns table (nth bigint, partition smallint, record_offset bigint, at timestamptz)
language sql security definer set search_path from current as $$
    with sent as (
        select * from unnest(partitions, keys, record_values, headers) with ordinality as s (partition, key, value, headers, nth)
    ),
    taken as (
        insert into topic_partition as p (topic_no, partition, next_offset, last_at)
        select append_records.topic_no, s.partition, s.many, clock_timestamp()
        from (select partition, count(*) as many from sent group by partition) s order by s.partition
        on conflict on constraint topic_partition_pkey do update
            set next_offset = p.next_offset + excluded.next_offset, last_at = greatest(p.last_at, clock_timestamp())
        returning p.partition, p.next_offset, p.last_at
    ),
    placed as (
        select s.*, t.last_at as at, t.next_offset - row_number() over (partition by s.partition order by s.nth desc) as record_offset
        from sent s join taken t using (partition)
    ),
    written as (
        insert into topic_record (topic_no, partition, record_offset, at, key, value, headers)
        select append_records.topic_no, p.partition, p.record_offset, p.at, p.key, p.value, p.headers from placed p
    )
    select p.nth, p.partition, p.record_offset, p.at from placed p order by p.nth
$$;

-- What a writer has to know of a topic, for the same steps: they read nothing else of the metadata.
create function find_topic(topic_name text) returns table (topic_no integer, partitions smallint)
language sql stable security definer set search_path from current as $$
    select t.topic_no, t.partitions from topic t where t.name = topic_name
$$;

update schema_guard set version = 26;
