-- Renews the leases of a process, and leases it streams that no process runs or that it stopped itself. It has lost each stream that it
-- runs and that the answer does not name: a person paused or restarted it, or another binary took it or changed its declaration. A stream
-- that has run for a minute has recovered, even if it had nothing to commit, so its last error is deleted.
with offered as (select * from unnest($3::text[], $4::text[]) as o (name, version)),
held as (select * from unnest($5::text[], $6::bigint[]) as h (name, epoch)),
renewed as (
    update stream s set lease_until = now() + $8::float8 * interval '1 second',
        failures = case when s.started_at < now() - interval '1 minute' then 0 else s.failures end,
        error = case when s.started_at < now() - interval '1 minute' then null else s.error end,
        failed_at = case when s.started_at < now() - interval '1 minute' then null else s.failed_at end
    from held h join offered o using (name)
    where s.name = h.name and s.epoch = h.epoch and s.process = $2 and s.version = o.version and not s.is_paused
    returning s.name, s.epoch
),
free as (
    select s.name from stream s join offered o on o.name = s.name and o.version = s.version
    where s.bundle = $1 and not s.is_paused and (s.process = $2 or coalesce(s.lease_until < now(), true))
        and coalesce(s.retry_at <= now(), true) and s.name not in (select name from held)
    order by s.name limit greatest($7::bigint, 0) for update of s skip locked
),
taken as (
    update stream s set epoch = s.epoch + 1, process = $2, lease_until = now() + $8::float8 * interval '1 second', started_at = now()
    from free where s.name = free.name
    returning s.name, s.epoch
)
select name as "name!", epoch as "epoch!", false as "is_new!" from renewed
union all
select name, epoch, true from taken
