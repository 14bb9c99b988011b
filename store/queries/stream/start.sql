-- Where a stream goes on reading: partitions that it has not seen begin where the caller says, those that a person moved are moved.
with mine as (
    update stream set topic_identity = $3, reset_to = null where name = $1 and epoch = $2 returning name
),
given as (select * from unnest($4::integer[], $5::bigint[], $6::bigint[], $7::boolean[]) as g (partition, start, topic_end, moves)),
placed as (
    insert into stream_partition as p (stream, partition, next_offset, end_offset)
    select m.name, g.partition, g.start, g.topic_end from mine m, given g
    on conflict (stream, partition) do update set end_offset = excluded.end_offset,
        next_offset = case when p.partition in (select partition from given where moves) then excluded.next_offset else p.next_offset end
    returning p.partition, p.next_offset
)
select partition as "partition!", next_offset as "next_offset!" from placed order by partition
