-- What a bundle declares, as the newest to say so. Streams of it that it no longer declares stay, without a version.
with declared as (select * from unnest($2::text[], $3::text[], $4::jsonb[]) as d (name, version, spec)),
gone as (
    update stream s set version = null, updated_at = now()
    where s.bundle = $1 and s.version is not null and s.name not in (select name from declared)
)
insert into stream as s (name, bundle, version, spec, is_paused)
select name, $1, version, spec, $5 or coalesce((spec->>'paused_at_creation')::boolean, false) from declared order by name
on conflict (name) do update set bundle = excluded.bundle, version = excluded.version, spec = excluded.spec, updated_at = now(),
    -- A new version is tried at once.
    failures = 0, error = null, failed_at = null, retry_at = null
    where (s.bundle, s.version, s.spec) is distinct from (excluded.bundle, excluded.version, excluded.spec)
