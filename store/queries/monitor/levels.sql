-- How the runs of each DAG went, week by week: those that ended, by the weeks in which they were made. The DAGs with the most trouble first.
with runs as (
    select r.dag_id, date_trunc('week', r.created_at) as week, r.state,
        extract(epoch from r.ended_at - coalesce(r.started_at, r.created_at)) as seconds,
        exists (select from deadline d where d.run = r.id and d.state = 'missed') as is_late
    from dag_run r where r.id >= $1 and r.state in ('success', 'failed')
),
weeks as (
    select dag_id, week, count(*) as runs, count(*) filter (where state = 'failed') as failed,
        count(*) filter (where is_late) as late, percentile_cont(0.95) within group (order by seconds) as p95
    from runs group by dag_id, week
),
dags as (
    select dag_id, sum(failed + late) as trouble, sum(runs) as runs from weeks group by dag_id
    order by trouble desc, runs desc, dag_id limit $2
)
select w.dag_id as "dag_id!", w.week as "week!", w.runs as "runs!", w.failed as "failed!", w.late as "late!",
    coalesce(w.p95, 0)::float8 as "p95_seconds!"
from weeks w join dags d using (dag_id) order by d.trouble desc, d.runs desc, w.dag_id, w.week
