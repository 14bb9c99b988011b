drop table import_error;
update schema_guard set version = 14;
