-- A page of runs as their rows have them, oldest first.
select r.id, r.dag_id, r.run_id, r.rev, r.version, r.state::text as "state!", r.ledger, r.counters,
  r.clear_number > 0 as "cleared!", v.created_at > r.created_at as "moved!"
from dag_run r join dag_version v on v.id = r.version
where ($1::text is null or r.dag_id = $1) and ($2::timestamptz is null or r.created_at >= $2)
  and ($3::uuid is null or r.id > $3)
order by r.id limit $4
