-- Readers as people see them, a row for each partition. What the built-in log holds is asked of the log itself.
select r.name as "name!", r.connection as "connection!", r.topic as "topic!", p.partition as "partition!",
    p.next_offset as "next_offset!", greatest(coalesce(l.next_offset, p.end_offset), p.next_offset) as "end_offset!", r.seek_to,
    r.dag_id as "dag_id!", r.task_id as "task_id!", r.run_id as "run_id!", r.moved_at as "moved_at!"
from topic_reader r join topic_reader_partition p on p.reader = r.name
left join topic t on r.topic_identity = 'log:' || t.topic_no and t.name = r.topic
left join topic_partition l on l.topic_no = t.topic_no and l.partition = p.partition
where $1::text is null or r.topic = $1
order by r.name, p.partition
