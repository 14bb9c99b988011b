-- What waited for its time, and what waited for a condition too long. A try that was deferred is told how its wait ended.
with w as (
    delete from waiting where ctid = any(array(
            select ctid from waiting where kind is null and wake_at <= now() order by wake_at limit $1 for update skip locked)
        || array(
            select ctid from waiting where kind is not null and give_up_at <= now() order by give_up_at limit $1
            for update skip locked))
    returning run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready, state,
        answer, on_timeout, carried
),
told as (
    update task_instance t set resumed = json_build_object('attempt', w.attempt,
        'end', coalesce(w.answer, json_build_object('timed_out', w.on_timeout)), 'carried', w.carried)
    from w where w.state = 'deferred' and t.run = w.run and t.task = w.task and t.map_index = w.map_index
)
insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready)
select run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready from w
