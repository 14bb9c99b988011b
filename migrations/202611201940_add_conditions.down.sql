alter table task_instance drop column resumed;
drop index waiting_due, waiting_look, waiting_give_up;
alter table waiting drop column kind, drop column config, drop column poke_ms, drop column give_up_at, drop column on_timeout,
    drop column carried, drop column answer, drop column looked_by, drop column looks, drop column errors,
    drop column last_error;
create index waiting_due on waiting (wake_at);
update schema_guard set version = 9;
