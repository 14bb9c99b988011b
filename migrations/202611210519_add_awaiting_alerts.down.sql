alter table alert drop constraint alert_kind_check;
delete from alert where kind = 'task_awaiting_input';
alter table alert add constraint alert_kind_check check (kind in ('run_success', 'run_failed', 'task_success', 'task_failed',
    'task_retry', 'task_skipped', 'deadline_missed', 'asset_stale', 'check_failed', 'test'));
update schema_guard set version = 18;
