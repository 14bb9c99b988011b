-- Only a capture appends to the topics that it declares. Until now `append_records` did not check that: a step of `ctx.commit`, or a role for
-- tasks, that called it in raw SQL could forge a record such as a truncate, which empties the mirrors of the capture.
create function refuse_captured(checked_topic_no integer) returns void
language plpgsql stable set search_path from current as $$
declare
    captured record;
begin
    select t.name as topic, s.name as capture into captured
        from topic t join stream s on s.version is not null and s.spec ? 'captures' and t.name = any(string_to_array(s.spec->>'topic', ', '))
        where t.topic_no = checked_topic_no and not coalesce((s.capture->>'in_kafka')::boolean, false)
        order by s.name limit 1;
    if found then
        raise insufficient_privilege using message = format('topic `%s` is written by capture `%s`', captured.topic, captured.capture),
            hint = 'produce to another topic';
    end if;
end $$;

create or replace function append_records(topic_no integer, partitions smallint[], keys bytea[], record_values bytea[], headers jsonb[])
returns table (nth bigint, partition smallint, record_offset bigint, at timestamptz)
language sql security definer set search_path from current as $$
    -- Captures append as the user of orch, outside of completion transactions.
    select refuse_captured(append_records.topic_no)
        where current_setting('orch.completing', true) = 'yes' or not has_table_privilege(session_user, 'topic_record', 'insert');
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

-- When a folder of stream files or of endpoints was last read: at the start of the process that watches it, and after each change. `/readyz`
-- reports it.
create table folder_read (
    -- The name under which import errors of the folder are stored.
    bundle text primary key,
    at timestamptz not null default now()
);

update schema_guard set version = 41;
