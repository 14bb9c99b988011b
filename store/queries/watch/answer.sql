-- What looks gave, if they still count. $6: how the wait ended, null where it goes on; $7: then the next look in so many ms.
with a as materialized (
    select * from unnest($2::uuid[], $3::smallint[], $4::integer[], $5::integer[], $6::text[], $7::bigint[], $8::text[])
        as a (run, task, map_index, looks, answer, next_ms, error)
),
mine as materialized (
    select w.ctid, a.answer, a.next_ms, a.error from a
    join waiting w on w.run = a.run and w.task = a.task and w.map_index = a.map_index
    where w.looked_by = $1 and w.looks = a.looks and w.kind is not null
    for update of w skip locked
)
update waiting w set
    kind = case when mine.answer is null then w.kind end,
    give_up_at = case when mine.answer is null then w.give_up_at end,
    wake_at = now() + case when mine.answer is null then mine.next_ms else 0 end * interval '1 millisecond',
    answer = mine.answer::json,
    looked_by = null,
    errors = case when mine.error is null then 0 else w.errors + 1 end,
    last_error = mine.error
from mine where w.ctid = mine.ctid
