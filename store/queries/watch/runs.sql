-- How runs stand, in the order of the questions: $1 dag, $2 whether a task of it is meant, then one of $3 run id, $4 logical
-- date, $5 the time since when it ended; $6: in which states, with commas. A question about a task since a time is
-- answered with the newest runs that may have it.
select q.place as "place!", f.id as "id!", f.run_id as "run_id!", f.logical_date as "logical_date?", f.state as "state!",
    f.ended_at as "ended_at?"
from unnest($1::text[], $2::boolean[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[]) with ordinality
    as q (dag_id, of_task, run_id, logical_date, since, states, place)
cross join lateral (
    select r.id, r.run_id, r.logical_date, r.state::text as state, r.ended_at, r.run_after from dag_run r
    where r.dag_id = q.dag_id and r.run_id = q.run_id
    union all
    select r.id, r.run_id, r.logical_date, r.state::text, r.ended_at, r.run_after from dag_run r
    where r.dag_id = q.dag_id and r.logical_date = q.logical_date
    union all
    (select n.id, n.run_id, n.logical_date, n.state, n.ended_at, n.run_after from (
        select r.id, r.run_id, r.logical_date, r.state::text as state, r.ended_at, r.run_after from dag_run r
        where r.dag_id = q.dag_id and q.since is not null and not q.of_task order by r.run_after desc, r.id desc limit 1000) n
    where n.ended_at >= q.since and n.state = any(string_to_array(q.states, ','))
    order by n.run_after desc, n.id desc limit 1)
    union all
    (select n.id, n.run_id, n.logical_date, n.state, n.ended_at, n.run_after from (
        select r.id, r.run_id, r.logical_date, r.state::text as state, r.ended_at, r.run_after from dag_run r
        where r.dag_id = q.dag_id and q.since is not null and q.of_task order by r.run_after desc, r.id desc limit 1000) n
    where n.ended_at is null or n.ended_at >= q.since
    order by n.run_after desc, n.id desc limit 20)
) f
order by q.place, f.run_after desc, f.id desc
