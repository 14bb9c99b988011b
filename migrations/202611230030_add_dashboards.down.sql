drop table dashboard;

update schema_guard set version = 32;
