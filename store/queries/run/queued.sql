-- The oldest runs of DAG $1 that have a place, locked: at most $3, and no more than leaves $2 of them running. Those of
-- backfills were given their place when they were created. `is not distinct`: found by their keys, and by no index of
-- all that are queued.
select r.id, r.run_type::text as "run_type!", d.tasks as "tasks?"
from dag_run r left join dag_run_detail d on d.run = r.id
where r.state is not distinct from 'queued' and r.clear_number = 0 and r.id = any(array(
        select id from dag_run where dag_id = $1 and state = 'queued' and run_after <= now() and clear_number = 0
            and run_type <> 'backfill'
        order by run_after, id limit greatest(0, least($2 - running_runs($1), $3)))
    || array(
        select id from dag_run where dag_id = $1 and state = 'queued' and run_after <= now() and clear_number = 0
            and run_type = 'backfill'
        order by run_after, id limit $3))
order by r.run_after, r.id for no key update of r
