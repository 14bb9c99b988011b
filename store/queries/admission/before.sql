-- The run before each of $1: by its date, of a DAG that catches up ($2) the scheduled one; a run without a date comes after
-- whatever was due before it.
select w.run as "run!", b.run_id as "run_id!", b.logical_date, b.version as "version!", b.state::text as "state!",
    b.ledger as "ledger!", b.counters as "counters!"
from unnest($1::uuid[], $2::boolean[]) as w (run, catchup) join dag_run r on r.id = w.run,
    lateral (
        (select * from dag_run d where r.logical_date is not null and d.dag_id = r.dag_id and d.logical_date < r.logical_date
            and (not w.catchup or d.run_type = 'scheduled') order by d.logical_date desc limit 1)
        union all
        (select * from dag_run d where r.logical_date is null and d.dag_id = r.dag_id
            and (d.run_after, d.id) < (r.run_after, r.id) order by d.run_after desc, d.id desc limit 1)
    ) b
