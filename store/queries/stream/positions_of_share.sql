-- Where a share reads on: behind what it has handed over, or else behind what the stream has published.
select s.topic_identity as "topic_identity!", p.partition as "partition!",
    greatest(p.next_offset, coalesce(max(c."to"), 0)) as "next_offset!"
from stream_share h
join stream s on s.name = h.stream and s.epoch = h.epoch
join stream_partition p on p.stream = h.stream and p.partition % $5::integer = h.share
left join stream_lot l on l.stream = h.stream and l.share = h.share and l.epoch = h.epoch
left join lateral jsonb_to_recordset(l.covered) as c (partition integer, "to" bigint) on c.partition = p.partition
where h.stream = $1 and h.epoch = $2 and h.share = $3 and h.term = $4
group by s.topic_identity, p.partition, p.next_offset
order by p.partition
