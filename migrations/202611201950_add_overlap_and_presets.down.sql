drop table param_preset;
alter table dag drop column overlap;
update schema_guard set version = 10;
