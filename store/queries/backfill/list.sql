-- $1 dag or null, $2 id or null, $3 only those that go on, $4 oldest first, $5 most, $6 skipped. Of a date whose run is
-- there the run's own state counts.
with b as materialized (
    select b.*, d.is_paused as dag_is_paused from backfill b join dag d on d.dag_id = b.dag_id
    where ($1::text is null or b.dag_id = $1) and ($2::integer is null or b.id = $2)
        and (not $3::boolean or b.completed_at is null)
    order by case when $4::boolean then b.id end, b.id desc limit $5 offset $6
)
select b.id as "id!", b.dag_id as "dag_id!", b.from_date as "from_date!", b.to_date as "to_date!",
    b.run_backwards as "run_backwards!", b.reprocess as "reprocess!", b.max_active_runs as "max_active_runs!",
    b.latest as "latest!", b.conf, b.task_regex, b.with_upstream as "with_upstream!", b.is_paused as "is_paused!",
    b.is_cancelled as "is_cancelled!", b.created_by, b.created_at as "created_at!", b.updated_at as "updated_at!",
    b.completed_at, b.dag_is_paused as "dag_is_paused!", c.planned as "planned!", c.queued as "queued!",
    c.running as "running!", c.success as "success!", c.failed as "failed!", c.skipped as "skipped!",
    c.dropped as "dropped!"
from b, lateral (
    select count(*) filter (where s.state = 'planned') as planned, count(*) filter (where s.state = 'queued') as queued,
        count(*) filter (where s.state = 'running') as running, count(*) filter (where s.state = 'success') as success,
        count(*) filter (where s.state = 'failed') as failed, count(*) filter (where s.state = 'skipped') as skipped,
        count(*) filter (where s.state = 'dropped') as dropped
    from (select case x.state when 'active' then coalesce(r.state::text, 'dropped') else x.state end as state
        from backfill_run x left join dag_run r on x.state = 'active' and r.id = x.run where x.backfill = b.id) s
) c
order by case when $4 then b.id end, b.id desc
