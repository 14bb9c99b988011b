-- Where a stream is in each partition of its topic.
select p.partition as "partition!", p.next_offset as "next_offset!",
    greatest(coalesce(l.next_offset, p.end_offset), p.next_offset) as "end_offset!"
from stream s join stream_partition p on p.stream = s.name
left join topic t on s.topic_identity = 'log:' || t.topic_no and t.name = s.spec->>'topic'
left join topic_partition l on l.topic_no = t.topic_no and l.partition = p.partition
where s.name = $1 order by p.partition
