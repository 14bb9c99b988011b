-- The offset of the first record of a partition that is not older than a moment; without one, the next offset. Offsets have no gaps
-- and moments never go back, so halving finds it.
with recursive search (low, high) as (
    select first_offset, next_offset from topic_partition where topic_no = $1 and partition = $2
    union all
    select case when r.at < $3 then middle + 1 else low end, case when r.at < $3 then high else middle end
    from search s
    cross join lateral (select (s.low + s.high) / 2 as middle) m
    left join topic_record r on r.topic_no = $1 and r.partition = $2 and r.record_offset = m.middle
    where s.low < s.high
)
select coalesce(max(low), 0) as "offset!" from search where low = high
