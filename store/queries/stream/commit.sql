-- Moves the offsets of a stream, if it is still this epoch's to move, and says that its table was updated, if the table is an
-- asset. Gives how many partitions were moved; a caller that is not answered with all of its own rolls back.
with moved as (
    update stream s set commits = commits + 1, records = s.records + $3, quarantined = s.quarantined + $4, last_commit_at = now(),
        last_record_at = greatest(s.last_record_at, $5), failures = 0, error = null, failed_at = null, retry_at = null
    where s.name = $1 and s.epoch = $2
    returning s.name
),
covered as (select * from unnest($6::integer[], $7::bigint[], $8::bigint[], $9::bigint[]) as c (partition, start, stop, topic_end)),
offsets as (
    update stream_partition p set next_offset = c.stop, end_offset = greatest(c.stop, c.topic_end)
    from covered c, moved m
    where p.stream = m.name and p.partition = c.partition and p.next_offset = c.start
    returning p.partition
),
counted as (
    insert into stream_minute as s (stream, minute, records, quarantined, lag)
    select name, date_trunc('minute', now()), $3, $4, $10 from moved
    on conflict (stream, minute) do update
        set records = s.records + excluded.records, quarantined = s.quarantined + excluded.quarantined, lag = excluded.lag
),
updated as (
    insert into asset_event (asset, uri, rows, extra)
    select a.id, a.uri, $12, json_build_object('stream', m.name) from asset a, moved m where a.uri = $11 and $12::bigint > 0
    returning id
)
select (select count(*) from offsets) as "partitions!", exists (select from updated) as "is_asset_updated!"
