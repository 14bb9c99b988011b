-- Returns the state that admission decides from: the slots of each pool, the slots in use of each limit, the admissions that still count
-- against a rate, and the lines in which attempts wait. A line is a kind of gate. Its attempts have its negated id as `queue`, so one index
-- lookup finds the next line, however many attempts wait in it. All rows are as of one timestamp: with a later one for the rates,
-- attempts would be admitted too early. Returns at most $1 lines: first those after the queue $2, then those from the first queue on.
-- A caller that passes the last line of the previous page reads all lines in turn.
with recursive moment as materialized (select clock_timestamp() as at),
after (queue) as (
    (select queue from ready where queue > $2::integer and queue < 0 order by queue limit 1)
    union all
    select (select r.queue from ready r where r.queue > l.queue and r.queue < 0 order by r.queue limit 1)
    from after l where l.queue is not null
),
upto (queue) as (
    (select queue from ready where queue <= $2::integer and queue < 0 order by queue limit 1)
    union all
    select (select r.queue from ready r where r.queue > l.queue and r.queue <= $2::integer and r.queue < 0 order by r.queue limit 1)
    from upto l where l.queue is not null
)
select 'line' as "kind!", '' as "name!", -queue::bigint as "many!", moment.at as "at!"
from moment, (select queue from after where queue is not null
    union all select queue from upto where queue is not null limit $1) waiting
union all
select 'pool', name, slots, moment.at from moment, pool
union all
select 'slot', limit_name, sum(slots), moment.at from moment, slot group by limit_name, moment.at
union all
select 'rate', limit_name, many, until from moment, admitted where until > moment.at
