-- What waited for its time, and what waited for a condition or an answer too long. A try that was deferred is told how its
-- wait ended; of one that asked people the defaults are the answer, if it has any.
with w as (
    delete from waiting where ctid = any(array(
            select ctid from waiting where kind is null and wake_at <= now() order by wake_at limit $1 for update skip locked)
        || array(
            select ctid from waiting where kind is not null and give_up_at <= now() order by give_up_at limit $1
            for update skip locked))
    returning run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready, state,
        answer, on_timeout, carried
),
late as (
    update approval a set ended_at = now(), timed_out = true, given = a.fallback
    from w where w.state = 'awaiting_input' and w.answer is null and a.attempt = w.attempt
    returning a.attempt, case when a.fallback is not null then json_build_object('met', json_build_object(
        'chosen_options', a.fallback -> 'chosen_options', 'params_input', a.fallback -> 'params_input',
        'responded_at', now(), 'responded_by_user', null, 'timed_out', true)) end as met
),
told as (
    update task_instance t set resumed = json_build_object('attempt', w.attempt,
        'end', coalesce(w.answer, late.met, json_build_object('timed_out', w.on_timeout)), 'carried', w.carried)
    from w left join late on late.attempt = w.attempt
    where w.state in ('deferred', 'awaiting_input') and t.run = w.run and t.task = w.task and t.map_index = w.map_index
)
insert into ready (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready)
select run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no, rev_ready from w
