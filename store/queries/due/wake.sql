with w as (
    delete from waiting where ctid = any(array(
        select ctid from waiting where wake_at <= now() order by wake_at limit $1 for update skip locked))
    returning run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready
)
insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready)
select * from w
