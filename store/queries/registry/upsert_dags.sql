insert into dag as d (dag_id, version, description, tags, owners, aliases, bundle, file, is_paused, schedule_text,
    max_active_runs, max_consecutive_failed_runs, overlap)
select w.dag_id, w.version, w.description, array(select json_array_elements_text(w.tags)),
    array(select json_array_elements_text(w.owners)), array(select json_array_elements_text(w.aliases)), $2, w.file,
    w.is_paused, w.schedule_text, w.max_active_runs, w.max_failed, w.overlap
from json_to_recordset($1::text::json) as w (dag_id text, version integer, number integer, description text, tags json, owners json,
    aliases json, file text, is_paused boolean, schedule_text text, max_active_runs integer, max_failed integer, overlap text)
-- A newer version that a living worker offers stays the DAG's, unless it is of a folder: there what is in the folder counts.
where not $3::boolean or not exists (select from dag known join dag_version newer on newer.id = known.version
    join worker on worker.state = 'running' and worker.expires_at > now() and newer.id = any(worker.versions)
    where known.dag_id = w.dag_id and newer.number > w.number)
order by w.dag_id
on conflict (dag_id) do update set version = excluded.version, description = excluded.description, tags = excluded.tags,
    owners = excluded.owners, aliases = excluded.aliases, bundle = excluded.bundle, file = excluded.file,
    is_stale = false, schedule_text = excluded.schedule_text, max_active_runs = excluded.max_active_runs,
    max_consecutive_failed_runs = excluded.max_consecutive_failed_runs, overlap = excluded.overlap, registered_at = now()
