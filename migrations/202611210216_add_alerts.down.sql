drop index asset_check_untold;
alter table asset_check drop column told;
drop table deadline;
drop table alert;
update schema_guard set version = 15;
