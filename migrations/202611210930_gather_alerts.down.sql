drop table alert_part;
drop index alert_gather;
alter table alert drop column gather;
update schema_guard set version = 20;
