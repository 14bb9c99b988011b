alter table stream drop column capture;
update schema_guard set version = 30;
