-- $1 places of rows in `ready`; $2–$7 what their tries take; $8–$10 whom rates let in; $11 whose rows they were: a place may
-- be another row's by now; $12 when it was decided. What somebody just takes away is left to him, and takes nothing.
with moved as (
    update ready r set queue = (select l.queue from line l where l.id = -r.queue), queued_at = $12
    where r.ctid = any(array(select ready.ctid from ready where ready.ctid = any($1::text[]::tid[]) and ready.queue < 0
        and ready.attempt = any($11::uuid[]) for update skip locked))
    returning r.attempt
),
took as (
    insert into slot (attempt, limit_name, slots, run, task, map_index)
    select n.* from unnest($2::uuid[], $3::text[], $4::integer[], $5::uuid[], $6::smallint[], $7::integer[])
        as n (attempt, limit_name, slots, run, task, map_index)
    where n.attempt in (select attempt from moved)
    on conflict do nothing
),
rated as (
    insert into admitted (limit_name, until, many)
    select n.limit_name, n.until, count(*) from unnest($8::uuid[], $9::text[], $10::timestamptz[]) as n (attempt, limit_name, until)
    where n.attempt in (select attempt from moved)
    group by n.limit_name, n.until
)
select count(*) as "many!" from moved
