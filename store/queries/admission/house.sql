-- What there is and what is taken of it, and who waits: pools, slots, rates, lines that somebody stands in. The lines are
-- found one after the other in the index that claims use, however many wait in each. All of it is as of one moment: a rate
-- that counted by a later one would let somebody in too early.
with recursive moment as materialized (select clock_timestamp() as at),
l (queue) as (
    (select queue from ready where queue < 0 order by queue limit 1)
    union all
    select (select r.queue from ready r where r.queue > l.queue and r.queue < 0 order by r.queue limit 1)
    from l where l.queue is not null
)
select 'line' as "kind!", '' as "name!", -queue::bigint as "many!", moment.at as "at!"
from moment, (select queue from l where queue is not null limit $1) waiting
union all
select 'pool', name, slots, moment.at from moment, pool
union all
select 'slot', limit_name, sum(slots), moment.at from moment, slot group by limit_name, moment.at
union all
select 'rate', limit_name, many, until from moment, admitted where until > moment.at
