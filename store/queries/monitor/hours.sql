-- What came in, hour by hour, the oldest first; hours in which nothing happened too. What a stream publishes is told by its minutes.
with hours as (
    select generate_series(date_trunc('hour', $1::timestamptz), date_trunc('hour', now()), interval '1 hour') as hour
),
tasks as (
    select date_trunc('hour', at) as hour, sum(rows) as rows from asset_event
    where at >= date_trunc('hour', $1) and source_run is not null group by 1
),
streams as (
    select date_trunc('hour', minute) as hour, sum(records) as records, sum(quarantined) as quarantined from stream_minute
    where minute >= date_trunc('hour', $1) group by 1
),
-- By their ids, which are times of their making: the index of failed runs.
failed as (
    select date_trunc('hour', ended_at) as hour, count(*) as runs from dag_run
    where state = 'failed' and id >= $2 and ended_at >= date_trunc('hour', $1) group by 1
)
select h.hour as "hour!", coalesce(t.rows, 0)::bigint as "rows!", coalesce(s.records, 0)::bigint as "records!",
    coalesce(s.quarantined, 0)::bigint as "quarantined!", coalesce(f.runs, 0) as "failed!"
from hours h left join tasks t using (hour) left join streams s using (hour) left join failed f using (hour)
order by h.hour
