-- Topics with how many records they hold.
select t.name, t.topic_no, t.partitions, t.retention_hours, t.description, t.created_at, t.updated_at,
    coalesce(p.records, 0)::bigint as records, p.last_at as last_record_at
from topic t left join (
    select topic_no, sum(next_offset - first_offset) as records, max(last_at) as last_at from topic_partition group by topic_no
) p using (topic_no)
