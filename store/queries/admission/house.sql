-- What there is and what is taken of it, and who waits: pools, slots, rates, lines that somebody stands in. The lines are
-- found one after the other in the index that claims use, however many wait in each. All of it is as of one moment: a rate
-- that counted by a later one would let somebody in too early. At most $1 lines: first those after the queue $2, then the others,
-- so that callers who pass the last line of the page before read all lines in turn.
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
