-- Keeps windows as they are now, and how far the time of each partition has come.
with moved as (
    update stream_partition p set watermark = m.at
    from unnest($6::integer[], $7::timestamptz[]) as m (partition, at)
    where p.stream = $1 and p.partition = m.partition and p.watermark is distinct from m.at
)
insert into stream_window as w (stream, key, window_start, window_end, state)
select $1, n.key, n.start, n.stop, n.state
from unnest($2::text[], $3::timestamptz[], $4::timestamptz[], $5::json[]) as n (key, start, stop, state)
on conflict (stream, key, window_start) do update set window_end = excluded.window_end, state = excluded.state
