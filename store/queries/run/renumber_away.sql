-- Each task to its new place and 16,384 further, out of the way of those that are still to be moved; -1: it is gone.
with task_instance_gone as (
    delete from task_instance where run = $1 and ($2::smallint[])[task + 1] = -1
),
attempt_gone as (
    delete from attempt where run = $1 and ($2::smallint[])[task + 1] = -1
),
output_gone as (
    delete from output where run = $1 and ($2::smallint[])[task + 1] = -1
),
output_part_gone as (
    delete from output_part where run = $1 and ($2::smallint[])[task + 1] = -1
),
task_instance_away as (
    update task_instance set task = 16384 + ($2)[task + 1] where run = $1 and ($2)[task + 1] >= 0
),
attempt_away as (
    update attempt set task = 16384 + ($2)[task + 1] where run = $1 and ($2)[task + 1] >= 0
),
output_away as (
    update output set task = 16384 + ($2)[task + 1] where run = $1 and ($2)[task + 1] >= 0
)
update output_part set task = 16384 + ($2)[task + 1] where run = $1 and ($2)[task + 1] >= 0
