-- Forgets windows that no record can be added to: all partitions have come further, with the lateness that is allowed. A partition of
-- which nothing was read yet may have older records.
with reached as (
    select min(p.watermark) - $2::float8 * interval '1 second' as at from stream_partition p where p.stream = $1
    having count(*) filter (where p.watermark is null and p.next_offset < p.end_offset) = 0
),
closed as (
    update stream s set closed_before = r.at from reached r
    where s.name = $1 and r.at is not null and (s.closed_before < r.at) is not false
    returning s.closed_before
)
delete from stream_window w using closed c
where w.stream = $1 and w.window_end <= c.closed_before - $3::float8 * interval '1 second'
