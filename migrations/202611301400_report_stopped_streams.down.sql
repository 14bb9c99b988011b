drop table stream_skip;
delete from alert where kind = 'stream_stopped';
alter table alert drop constraint alert_kind_check, add constraint alert_kind_check check (kind in ('run_success', 'run_failed', 'task_success', 'task_failed', 'task_retry',
    'task_skipped', 'deadline_missed', 'asset_stale', 'check_failed', 'test', 'task_awaiting_input'));
update schema_guard set version = 38;
