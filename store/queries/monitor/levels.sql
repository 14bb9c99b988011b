-- How the runs of the DAGs with the most trouble went, week by week: those that ended, by the weeks in which they were made. Where
-- fewer had trouble, others follow by their names. What went wrong is found by its indexes, and only the runs of these DAGs are read.
with trouble as (
    select dag_id from dag_run where state = 'failed' and id >= $1
    union all
    select r.dag_id from dag_run r where r.state in ('success', 'failed')
        and r.id in (select run from deadline where state = 'missed' and run >= $1)
),
worst as (
    select dag_id, count(*) as times from trouble group by dag_id order by times desc, dag_id limit $2
),
others as (
    select dag_id, 0 as times from dag where dag_id not in (select dag_id from worst) and exists (
        select from dag_run r where r.dag_id = dag.dag_id and r.id >= $1 and r.state in ('success', 'failed'))
    order by dag_id limit $2 - (select count(*) from worst)
)
select d.dag_id as "dag_id!", w.week as "week!", w.runs as "runs!", w.failed as "failed!", w.late as "late!",
    coalesce(w.p95, 0)::float8 as "p95_seconds!"
from (select * from worst union all select * from others) d
cross join lateral (
    select date_trunc('week', r.created_at) as week, count(*) as runs, count(*) filter (where r.state = 'failed') as failed,
        count(*) filter (where exists (select from deadline m where m.run = r.id and m.state = 'missed')) as late,
        percentile_cont(0.95) within group (
            order by active_seconds(coalesce(r.started_at, r.created_at), r.ended_at, r.idle_micros)) as p95
    from dag_run r where r.dag_id = d.dag_id and r.id >= $1 and r.state in ('success', 'failed') group by 1
) w
order by d.times desc, d.dag_id, w.week
