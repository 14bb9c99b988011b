-- Task instances of the newest runs that began: when each could begin, when it did, and when it ended.
select queued_at as "ready_at!", started_at as "started_at!", ended_at from task_instance
where run >= $1 and started_at >= queued_at order by run desc limit $2
