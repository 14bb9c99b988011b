-- Wherever an instance of these runs may stand. A run's rows in `unfolded` that are older than its last fold are in its ledger.
select run as "run!", task as "task!", map_index as "map_index!", 'row' as "place!", state::text as state,
  try_no > 0 as "ran!", rev_end, ended_at
from task_instance where run = any($1) and state is not null
union all
-- Rows of skipped instances that are not written yet.
select u.run, r.task, index, 'row', 'skipped', false, null::integer, (select d.ended_at from dag_run d where d.id = u.run)
from unwritten_skip u, unnest(u.tasks, u.firsts, u.lasts) as r (task, first, last), generate_series(r.first, r.last) as index
where u.run = any($1) and not exists (select from task_instance t
    where t.run = u.run and t.task = r.task and t.map_index = index and t.state is not null)
union all
select run, task, map_index, 'ready', null, false, null, null from ready where run = any($1)
union all
select run, task, map_index, 'waiting', null, false, null, null from waiting where run = any($1)
union all
select run, task, map_index, 'held', null, false, null, null from held where run = any($1)
union all
select u.run, u.task, u.map_index, 'unfolded', null, false, null, null
from unfolded u join dag_run r on r.id = u.run where u.run = any($1) and u.xid >= r.fold_xmin
