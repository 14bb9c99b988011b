-- The first of each line $1 as far as $2 says; of lines whose tries are decided run by run ($3) the first of each run, as far
-- as $4 rows go.
select r.at as "at!", -r.queue as "line!", r.run as "run!", r.task as "task!", r.map_index as "map_index!",
    r.attempt as "attempt!", r.version as "version!", r.priority as "priority!", r.seq as "seq!",
    array(select s.limit_name from slot s where s.attempt = r.attempt) as "holds!"
from unnest($1::integer[], $2::integer[], $3::boolean[]) as l (line, most, by_run),
    lateral (
        select f.* from (
            select w.*, case when l.by_run then row_number() over (partition by w.run order by w.priority desc, w.seq)
                else 1 end as turn
            from (select ready.ctid::text as at, ready.* from ready where ready.queue = -l.line
                order by ready.priority desc, ready.seq limit case when l.by_run then $4::integer else l.most end) w
        ) f where f.turn <= l.most
    ) r
order by r.priority desc, r.seq
