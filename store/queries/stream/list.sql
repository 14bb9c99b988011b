-- Streams as people see them. What the built-in log holds is asked of the log itself, so that the lag of a stream that does not
-- run is right, too.
select s.name as "name!", s.bundle as "bundle!", s.version, s.spec as "spec!", s.is_paused as "is_paused!", s.epoch as "epoch!",
    s.process, coalesce(s.lease_until > now(), false) as "is_leased!", s.started_at, s.failures as "failures!", s.error,
    s.failed_at, nullif(s.retry_at, 'infinity') as retry_at, coalesce(s.retry_at = 'infinity', false) as "waits_for_restart!",
    s.reset_to, s.commits as "commits!", s.records as "records!", s.quarantined as "quarantined!", s.last_commit_at,
    s.last_record_at, coalesce(p.lag, 0)::bigint as "lag!", coalesce(p.partitions, 0)::integer as "partitions!",
    coalesce(m.records, 0)::bigint as "records_last_hour!", s.topic_identity, s.capture
from stream s
left join lateral (
    select sum(greatest(coalesce(l.next_offset, p.end_offset) - p.next_offset, 0)) as lag, count(*) as partitions
    from stream_partition p
    left join topic t on s.topic_identity = 'log:' || t.topic_no and t.name = s.spec->>'topic'
    left join topic_partition l on l.topic_no = t.topic_no and l.partition = p.partition
    where p.stream = s.name
) p on true
left join lateral (
    select sum(m.records) as records from stream_minute m where m.stream = s.name and m.minute > now() - interval '1 hour'
) m on true
where $1::text is null or s.name = $1
order by s.name
