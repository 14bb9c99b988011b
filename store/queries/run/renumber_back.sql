-- The second stride.
with task_instance_back as (
    update task_instance set task = task - 16384 where run = $1 and task >= 16384
),
attempt_back as (
    update attempt set task = task - 16384 where run = $1 and task >= 16384
),
output_back as (
    update output set task = task - 16384 where run = $1 and task >= 16384
)
update output_part set task = task - 16384 where run = $1 and task >= 16384
