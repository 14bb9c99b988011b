-- Questions, the newest first. One is open as long as its wait is there.
select a.attempt, a.run, r.dag_id, r.run_id, a.task_id, a.map_index, a.try_no, a.question::text as "question!", a.asked_at,
    a.give_up_at, a.ended_at, a.given::text as given, a.given_by, a.timed_out, o.is_open as "is_open!"
from approval a join dag_run r on r.id = a.run
left join lateral (select exists (select from waiting w where w.attempt = a.attempt and w.kind = 'answer') as is_open) o on true
where ($1::uuid is null or a.attempt = $1) and ($2::text is null or r.dag_id = $2) and ($3::text is null or r.run_id = $3)
  and ($4::text is null or a.task_id = $4) and ($5::integer is null or a.map_index = $5)
  and ($6::smallint is null or a.try_no = $6) and ($7::boolean is null or o.is_open = $7)
  and ($8::boolean is null or (a.given is not null) = $8) and ($9::text is null or a.given_by = $9)
  and ($10::text is null or position(lower($10) in lower(a.question ->> 'subject')) > 0)
  and ($11::text is null or position(lower($11) in lower(a.question ->> 'body')) > 0)
  and ($12::timestamptz is null or a.asked_at >= $12) and ($13::timestamptz is null or a.asked_at < $13)
order by a.asked_at desc, a.attempt limit $14 offset $15
