create or replace function append_records(topic_no integer, partitions smallint[], keys bytea[], record_values bytea[], headers jsonb[])
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

drop function refuse_captured;
drop table folder_read;
update schema_guard set version = 40;
