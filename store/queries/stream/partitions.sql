-- Where a stream is in each partition of its topic.
select p.partition as "partition!", p.next_offset as "next_offset!",
    greatest(coalesce(l.next_offset, p.end_offset), p.next_offset) as "end_offset!",
    case when h.share is null then case when s.lease_until > now() then s.process end when h.lease_until > now() then h.process end as process
from stream s join stream_partition p on p.stream = s.name
left join topic t on s.topic_identity = 'log:' || t.topic_no and t.name = s.spec->>'topic'
left join topic_partition l on l.topic_no = t.topic_no and l.partition = p.partition
left join lateral (select count(*)::integer as many from stream_share h where h.stream = s.name and h.epoch = s.epoch) d on true
left join stream_share h on h.stream = s.name and h.epoch = s.epoch and h.share = p.partition % nullif(d.many, 0)
where s.name = $1 order by p.partition
