-- Conditions that are due, of these queues and of the lines before them, in the hands of one worker. Until it answers they are due again only when the lease is over.
with due as materialized (
    select ctid from waiting where kind is not null and wake_at <= now() and kind = any($2)
        and queue = any($1::integer[] || array(select -l.id from line l where l.queue = any($1)))
    order by wake_at limit $3 for update skip locked
)
update waiting w set looked_by = $4, looks = w.looks + 1, wake_at = now() + $5::float8 * interval '1 second'
from due where w.ctid = due.ctid
returning w.run, w.task, w.map_index, w.attempt, w.lease_no, w.looks, w.kind as "kind!", w.config::text as config,
    w.poke_ms, w.errors, w.last_error
