-- Tasks that read topics: where the next try of a reader begins. It moves with the success of the task that has read, or not at all.
create table topic_reader (
    name text primary key,
    connection text not null,
    topic text not null,
    -- Tells the topic from another one of its name.
    topic_identity text not null,
    -- Raised when a person moves it: what a try of before has read moves nothing.
    epoch bigint not null default 0,
    -- Where a person wants it to go on: the next try begins there, and its success clears this.
    seek_to jsonb,
    -- Who moved it last.
    dag_id text not null,
    task_id text not null,
    run_id text not null,
    moved_at timestamptz not null default now(),
    created_at timestamptz not null default now()
) with (fillfactor = 50);

create table topic_reader_partition (
    reader text not null references topic_reader on delete cascade,
    partition integer not null,
    next_offset bigint not null,
    -- Of the topic, as last seen.
    end_offset bigint not null,
    primary key (reader, partition)
) with (fillfactor = 50);

-- Moves a reader, if it still is where the try has found it: `expected` is the next offset of then, null for a partition that it
-- had not seen. `false`: it was moved meanwhile, and the caller rolls back. Steps of `ctx.commit` may call it, and may not write
-- to the tables themselves.
create function move_reader(reader_name text, found_epoch bigint, at_connection text, topic_name text, identity text,
    by_dag text, by_task text, by_run text, partitions integer[], expected bigint[], stops bigint[], ends bigint[])
returns boolean language sql security definer set search_path from current as $$
    with given as (
        select * from unnest(partitions, expected, stops, ends) as g (partition, found, stop, topic_end)
    ),
    mine as (
        insert into topic_reader as r (name, connection, topic, topic_identity, dag_id, task_id, run_id)
        select reader_name, at_connection, topic_name, identity, by_dag, by_task, by_run
        where found_epoch = 0 or exists (select from topic_reader t where t.name = reader_name)
        on conflict (name) do update set connection = excluded.connection, topic = excluded.topic,
            topic_identity = excluded.topic_identity, dag_id = excluded.dag_id, task_id = excluded.task_id,
            run_id = excluded.run_id, seek_to = null, moved_at = now()
            where r.epoch = found_epoch
        returning r.name
    ),
    -- Of another topic it knew other partitions.
    gone as (
        delete from topic_reader_partition p using mine m
        where p.reader = m.name and p.partition not in (select partition from given)
    ),
    placed as (
        insert into topic_reader_partition as p (reader, partition, next_offset, end_offset)
        select m.name, g.partition, g.stop, greatest(g.stop, g.topic_end) from mine m, given g
        where g.found is null or exists (
            select from topic_reader_partition t where t.reader = m.name and t.partition = g.partition)
        on conflict (reader, partition) do update set next_offset = excluded.next_offset, end_offset = excluded.end_offset
            where p.next_offset = (select g.found from given g where g.partition = p.partition)
        returning p.partition
    )
    select exists (select from mine) and (select count(*) from placed) = cardinality(partitions)
$$;

-- Streams that start runs: the runs for all records before these offsets are there. A stream that reads its topic again starts none
-- of them twice.
create table stream_started (
    stream text not null references stream on delete cascade,
    partition integer not null,
    -- Offsets of another topic of the same name mean other records.
    topic_identity text not null,
    next_offset bigint not null,
    primary key (stream, partition)
) with (fillfactor = 50);

update schema_guard set version = 30;
